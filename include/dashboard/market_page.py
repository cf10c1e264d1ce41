"""The market page before its first data: watchlist and chart."""

from __future__ import annotations

from typing import Any

from dash import dcc, html

from include.dashboard.charts.candlestick import candlestick_figure
from include.dashboard.charts.colours import colours
from include.dashboard.components.attributes import aria
from include.dashboard.components.graph import graph
from include.dashboard.components.notice import notice
from include.dashboard.market_view import MarketView


def market_page(view: MarketView) -> Any:
    stores = [dcc.Store(id="board"), dcc.Store(id="figure")]
    return html.Div([*stores, _watchlist(), _chart(view)], className="columns")


def _watchlist() -> html.Aside:
    return html.Aside(
        className="panel list-panel",
        **aria(label="Watchlist"),
        children=[
            html.H2(["Watchlist", html.Span("price · day change", className="hint")]),
            html.Div(notice("Loading prices", "one moment"), id="watchlist"),
        ],
    )


def _chart(view: MarketView) -> html.Section:
    empty = candlestick_figure((), view.select(None), colours(None))
    return html.Section(
        className="panel chart-panel",
        **aria(label="Chart"),
        children=[
            html.Div(id="instrument-bar", className="instrument-bar"),
            html.Div(
                className="chart",
                children=[
                    html.Div(id="legend", className="legend", **aria(live="off")),
                    graph("chart", empty, clear_on_unhover=True),
                    html.Button("Back to now", id="back-to-now", className="back-to-now", type="button"),
                    html.Div(notice("Loading candles", "one moment"), id="notice", role="status"),
                ],
            ),
            html.Footer(id="chart-foot", className="chart-foot"),
        ],
    )
