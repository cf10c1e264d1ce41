"""The market page before its first data: watchlist, alerts and chart."""

from __future__ import annotations

from typing import Any

from dash import dcc, html

from include.dashboard.charts.candlestick import candlestick_figure
from include.dashboard.charts.colours import colours
from include.dashboard.components.attributes import aria
from include.dashboard.components.graph import graph
from include.dashboard.components.notice import notice
from include.dashboard.market_view import MarketView

#: Keys and what they do, as the help shows them; assets/market_keys.js has the doing.
KEYS = (
    ("/", "search a symbol"),
    ("↑ ↓", "the symbol before, the next one"),
    ("1 5 Q H D", "candles of 1, 5, 15 minutes, an hour, a day"),
    ("← →", "earlier, later"),
    ("+ −", "closer, wider"),  # noqa: RUF001
    ("0", "back to now"),
    ("?", "this list"),
)


def market_page(view: MarketView) -> Any:
    # `redraw`: the browser asks for everything anew, as after an outage. `alerts-version`: the list has changed.
    stores = [dcc.Store(id=name) for name in ("board", "figure", "redraw", "alerts-version")]
    return html.Div(
        [*stores, dcc.Download(id="csv"), _side(), _chart(view), _help()],
        className="columns",
    )


def _side() -> html.Aside:
    return html.Aside(
        className="side",
        children=[
            html.Section(
                className="panel list-panel",
                **aria(label="Watchlist"),
                children=[
                    html.H2(["Watchlist", html.Span("price · day change", className="hint")]),
                    dcc.Input(
                        id="search",
                        type="text",
                        placeholder="Search a symbol  /",
                        className="search",
                        autoComplete="off",
                        maxLength=40,
                        name="symbol",
                    ),
                    html.Div(notice("Loading prices", "one moment"), id="watchlist"),
                    html.P("No symbol or name has this in it", id="none-found", className="none-found", hidden=True),
                ],
            ),
            html.Section(
                className="panel list-panel alerts-panel",
                **aria(label="Alerts"),
                children=[
                    html.H2(["Alerts", html.Span("newest first", className="hint")]),
                    html.Div(notice("Loading alerts", "one moment"), id="alerts", **aria(live="polite")),
                ],
            ),
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
                className="tools",
                children=[
                    html.Div(id="layer-bar"),
                    html.Div(
                        className="exports",
                        children=[
                            _tool("export-csv", "CSV", "The candles of this chart with their indicators, as a table"),
                            _tool("export-png", "PNG", "This chart as a picture"),
                            _tool("show-help", "?", "Keys"),
                        ],
                    ),
                ],
            ),
            html.Div(
                className="chart",
                children=[
                    html.Div(id="legend", className="legend", **aria(live="off")),
                    graph("chart", empty, clear_on_unhover=True),
                    html.Div(id="countdown", className="countdown", title="until this candle ends", role="timer"),
                    html.Button("Back to now", id="back-to-now", className="back-to-now", type="button"),
                    html.Div(notice("Loading candles", "one moment"), id="notice", role="status"),
                ],
            ),
            html.Footer(id="chart-foot", className="chart-foot"),
        ],
    )


def _tool(id: str, label: str, title: str) -> html.Button:
    return html.Button(label, id=id, className="tool", type="button", title=title)


def _help() -> html.Dialog:
    rows = [html.Tr([html.Th(html.Kbd(key), scope="row"), html.Td(does)]) for key, does in KEYS]
    return html.Dialog(
        id="help",
        className="help",
        **aria(label="Keys"),
        children=[
            html.H2("Keys"),
            html.Table(html.Tbody(rows)),
            html.Button("Close", id="close-help", className="tool", type="button"),
        ],
    )
