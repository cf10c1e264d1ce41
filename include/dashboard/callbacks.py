"""What all pages share: which of them is shown, and the reader's colours."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from dash import ClientsideFunction, Dash, Input, Output

from include.dashboard.layout import clock, navigation

#: By its address: the page, and the id of its clock in the header.
Pages = Mapping[str, tuple[Callable[[], Any], str]]


def register(app: Dash, pages: Pages) -> None:
    """All that a page's callbacks write to is in the page or its clock: none of them runs while another is shown."""

    @app.callback(
        Output("page", "children"),
        Output("page-clock", "children"),
        Output("pages", "children"),
        Input("url", "pathname"),
    )
    def show_page(path: str | None) -> tuple[Any, Any, Any]:
        # The server answers no other address.
        shown = path if path is not None and path in pages else "/"
        page, clock_id = pages[shown]
        return page(), clock(clock_id), navigation(shown)

    _register_clientside(app)


def _register_clientside(app: Any) -> None:
    app.clientside_callback(
        ClientsideFunction("market", "title"), Output("page-title", "data"), Input("url", "pathname")
    )
    app.clientside_callback(
        ClientsideFunction("market", "appearance"),
        Output("appearance", "data"),
        Input("scheme", "computedColorScheme"),
    )
    app.clientside_callback(
        ClientsideFunction("market", "palette"), Output("shell", "className"), Input("blue-orange", "checked")
    )
