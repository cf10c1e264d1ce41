"""The Dash page on the API's server: one ASGI application."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from dash import Dash
from fastapi import FastAPI, HTTPException

from include.dashboard import callbacks
from include.dashboard.layout import TITLE, page
from include.dashboard.market_view import MarketView

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


def create_dashboard(server: FastAPI, view: MarketView, market: str) -> Dash:
    """Adds the page at `/` to the server. Every file it needs comes from this server."""
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
            {"name": "description", "content": "Live prices and candles"},
        ],
        serve_locally=True,
        on_error=_report,
    )
    app.layout = page(view, market)
    callbacks.register(app, view)

    # Dash would answer any address with the page; a wrong one must say so.
    @server.get("/{path:path}", include_in_schema=False)
    def unknown(path: str) -> None:
        raise HTTPException(404, f"no such page: /{path}")

    return app


def _report(error: Exception) -> None:
    """Keeps what is on the screen; the log has the reason."""
    _log.error("a dashboard callback failed", exc_info=error)
