"""What check_data_quality adds to Airflow's UI: Data Docs, and a tab on each run that says what failed."""

from __future__ import annotations

from typing import Any, ClassVar

from airflow.plugins_manager import AirflowPlugin

from include.operators.data_docs import PREFIX, pages

_PAGES = PREFIX.removeprefix("/")


class DataQualityPlugin(AirflowPlugin):
    name = "data_quality"
    fastapi_apps: ClassVar[list[Any]] = [{"app": pages, "url_prefix": PREFIX, "name": "Data Docs"}]
    external_views: ClassVar[list[Any]] = [
        {
            "name": "Data Docs",
            "href": f"{_PAGES}/",
            "destination": "nav",
            "category": "browse",
            "url_route": "data-docs",
        },
        {
            "name": "Data quality",
            "href": f"{_PAGES}/run/{{DAG_ID}}/{{RUN_ID}}",
            "destination": "dag_run",
            "url_route": "data-quality",
        },
    ]
