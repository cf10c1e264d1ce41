"""The Dash pages on the API's server: one ASGI application."""

from __future__ import annotations

import logging
from collections.abc import Container
from pathlib import Path
from typing import Any

from dash import Dash
from fastapi import FastAPI, HTTPException
from starlette.types import ASGIApp, Receive, Scope, Send

from include.dashboard import callbacks, letter_callbacks, market_callbacks, operations_callbacks, quality_callbacks
from include.dashboard.alerts_view import AlertsView
from include.dashboard.layout import PAGES, TITLE, shell
from include.dashboard.market_page import market_page
from include.dashboard.market_view import MarketView
from include.dashboard.operations_page import operations_page
from include.dashboard.operations_view import OperationsView
from include.dashboard.quality_page import quality_page
from include.dashboard.quality_view import QualityView
from include.dashboard.run_routes import create_run_router
from include.dashboard.selection import OPERATIONS_PATH, QUALITY_PATH

_log = logging.getLogger(__name__)
_INDEX = """<!DOCTYPE html>
<html lang="en">
    <head>
        {%metas%}
        <title>{%title%}</title>
        <link rel="icon" type="image/svg+xml" href="/assets/mark.svg">
        {%css%}
    </head>
    <body>
        {%app_entry%}
        <footer>
            {%config%}
            {%scripts%}
            {%renderer%}
        </footer>
    </body>
</html>"""


def create_dashboard(
    server: FastAPI,
    view: MarketView,
    alerts: AlertsView,
    quality: QualityView,
    market: str,
    operations: OperationsView,
    *,
    can_replay: bool = False,
) -> Dash:
    """Adds the pages at `/`, `/quality` and `/operations` to the server. Every file they need comes from this server.

    `can_replay`: whether the operations page may publish dead letters again.
    """
    # Dash's own annotation of `server` knows Flask's kind only.
    asgi: Any = server
    app = Dash(
        __name__,
        server=asgi,
        backend="fastapi",
        assets_folder=str(Path(__file__).parent / "assets"),
        index_string=_INDEX,
        title=TITLE,
        update_title="",
        meta_tags=[
            {"name": "viewport", "content": "width=device-width, initial-scale=1"},
            {"name": "description", "content": "Live prices and candles, and how good they are"},
        ],
        serve_locally=True,
        on_error=_report,
        # What a callback writes to is there only while its page is shown.
        suppress_callback_exceptions=True,
    )
    app.layout = shell(market)
    pages: callbacks.Pages = {
        "/": (lambda: market_page(view), "freshness"),
        QUALITY_PATH: (quality_page, "checked-age"),
        OPERATIONS_PATH: (lambda: operations_page(can_replay=can_replay), "operations-age"),
    }
    callbacks.register(app, pages)
    market_callbacks.register(app, view, alerts)
    quality_callbacks.register(app, quality)
    operations_callbacks.register(app, operations)
    letter_callbacks.register(app, operations, can_replay=can_replay)
    server.include_router(create_run_router())

    server.add_middleware(OneDocument, addresses=set(PAGES))

    # Dash would answer any address with the page; a wrong one must say so.
    @server.get("/{path:path}", include_in_schema=False)
    def unknown(path: str) -> None:
        raise HTTPException(404, f"no such page: /{path}")

    return app


class OneDocument:
    """ASGI middleware: each page is the document that Dash answers at `/`, and draws itself by its address."""

    def __init__(self, app: ASGIApp, addresses: Container[str]) -> None:
        self._app = app
        self._addresses = addresses

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] in self._addresses:
            scope = {**scope, "path": "/", "raw_path": b"/"}
        await self._app(scope, receive, send)


def _report(error: Exception) -> None:
    """Keeps what is on the screen; the log has the reason."""
    _log.error("a dashboard callback failed", exc_info=error)
