"""The page before its first data: header, watchlist, chart."""

from __future__ import annotations

from typing import Any

import dash_mantine_components as dmc  # type: ignore[import-untyped]
from dash import dcc, html

from include.dashboard.charts.candlestick import candlestick_figure
from include.dashboard.charts.colours import colours
from include.dashboard.components.attributes import aria
from include.dashboard.components.graph import graph
from include.dashboard.components.notice import notice
from include.dashboard.market_view import MarketView

TITLE = "Market Data Platform"
REFRESH_MS = 5_000
_TICK_MS = 1_000
_MARKETS = {
    "live": "Prices from the public market sources",
    "sandbox": "A simulated market: these prices were never traded",
    "replay": "Recorded market days, played as if they were today",
}


def page(view: MarketView, market: str) -> Any:
    """The whole layout. What the reader chose is kept by the browser, what is shown by the address."""
    return dmc.MantineProvider(
        defaultColorScheme="auto",
        children=html.Div(
            id="shell",
            className="shell",
            children=[
                dcc.Location(id="url", refresh=False),
                dcc.Interval(id="refresh", interval=REFRESH_MS),
                dcc.Interval(id="tick", interval=_TICK_MS),
                dcc.Store(id="board"),
                dcc.Store(id="figure"),
                dcc.Store(id="appearance"),
                _header(market),
                html.Main(className="columns", children=[_watchlist(), _chart(view)]),
            ],
        ),
    )


def _header(market: str) -> html.Header:
    return html.Header(
        className="header",
        children=[
            html.Div(
                [html.Span(className="mark", **aria(hidden="true")), html.Strong(TITLE)],
                className="brand",
            ),
            html.Span(market.upper(), className=f"market {market}", title=_MARKETS[market]),
            html.Span(
                "Connecting",
                id="freshness",
                className="freshness waiting",
                role="status",
                title="age of the newest price",
            ),
            html.Div(
                className="choices",
                children=[
                    dmc.Switch(
                        id="blue-orange",
                        label="Blue / orange",
                        size="xs",
                        persistence=True,
                        persistence_type="local",
                        className="palette",
                    ),
                    dmc.ColorSchemeToggle(
                        id="scheme",
                        lightIcon="☀",
                        darkIcon="☾",
                        variant="subtle",
                        color="gray",
                        size="md",
                        **aria(label="Switch between dark and light"),
                    ),
                    html.A("API", href="/api/docs", className="api-link"),
                ],
            ),
        ],
    )


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
