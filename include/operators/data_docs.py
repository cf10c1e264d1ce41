"""The door to Data Docs in Airflow. Every process of Airflow loads the plugins: what is heavy waits for a visitor."""

from __future__ import annotations

from functools import cache
from typing import Any

PREFIX = "/data-docs"
DAG_ID = "check_data_quality"


async def pages(scope: Any, receive: Any, send: Any) -> None:
    """The ASGI application of `data_docs_app`, made when it is asked for the first time."""
    await _application()(scope, receive, send)


@cache
def _application() -> Any:
    from include.operators.data_docs_app import create_app

    return create_app()
