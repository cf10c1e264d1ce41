"""Query, build, return, for the market page and what both pages share; the browser's part is in assets/dashboard.js."""

from __future__ import annotations

from asyncio import to_thread
from typing import Any

from dash import ClientsideFunction, Dash, Input, Output

from include.dashboard.charts.candlestick import candlestick_figure
from include.dashboard.charts.colours import colours
from include.dashboard.components.instrument_bar import instrument_bar
from include.dashboard.components.notice import notice
from include.dashboard.components.watchlist import watchlist
from include.dashboard.layout import clock, navigation
from include.dashboard.market_page import market_page
from include.dashboard.market_view import Board, ChartData, MarketView
from include.dashboard.quality_page import quality_page
from include.dashboard.selection import QUALITY_PATH, Selection


def register(app: Dash, view: MarketView) -> None:
    """The queries wait in threads: the server's loop never waits for a store."""

    @app.callback(
        Output("page", "children"),
        Output("page-clock", "children"),
        Output("pages", "children"),
        Input("url", "pathname"),
    )
    def show_page(path: str | None) -> tuple[Any, Any, Any]:
        # The server answers no other address. All that a page's callbacks write to is in the page or its clock: so
        # none of them runs while the other page is shown.
        if path == QUALITY_PATH:
            return quality_page(), clock("checked-age"), navigation(path)
        return market_page(view), clock("freshness"), navigation("/")

    @app.callback(
        Output("watchlist", "children"),
        Output("instrument-bar", "children"),
        Output("board", "data"),
        Input("refresh", "n_intervals"),
        Input("url", "search"),
    )
    async def show_prices(_beat: int | None, search: str | None) -> tuple[Any, Any, Any]:
        selection = view.select(search)
        board = await to_thread(view.board)
        return (
            watchlist(view.instruments, board.prices, board.courses, selection, board.now),
            instrument_bar(view.instrument(selection.symbol), board.prices.get(selection.symbol), selection),
            freshness(board),
        )

    @app.callback(
        Output("figure", "data"),
        Output("notice", "children"),
        Output("chart-foot", "children"),
        Input("refresh", "n_intervals"),
        Input("url", "search"),
        Input("appearance", "data"),
        Input("blue-orange", "checked"),
    )
    async def show_chart(
        _beat: int | None, search: str | None, scheme: str | None, blue_orange: bool | None
    ) -> tuple[Any, Any, Any]:
        selection = view.select(search)
        data = await to_thread(view.chart, selection)
        figure = candlestick_figure(data.candles, selection, colours(scheme, bool(blue_orange)))
        return figure, chart_notice(data, selection), chart_foot(data)

    _register_clientside(app)


def _register_clientside(app: Any) -> None:
    app.clientside_callback(ClientsideFunction("market", "fitted"), Output("chart", "figure"), Input("figure", "data"))
    app.clientside_callback(
        ClientsideFunction("market", "legend"),
        Output("legend", "children"),
        Input("chart", "hoverData"),
        Input("figure", "data"),
    )
    app.clientside_callback(
        ClientsideFunction("market", "freshness"),
        Output("freshness", "children"),
        Output("freshness", "className"),
        Output("freshness", "title"),
        Input("tick", "n_intervals"),
        Input("board", "data"),
    )
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


def freshness(board: Board) -> dict[str, Any]:
    """What the browser's clock goes on counting from: epoch milliseconds."""
    newest = board.newest
    return {
        "now": int(board.now.timestamp() * 1000),
        "newest": None if newest is None else int(newest.timestamp() * 1000),
        "reachable": board.reachable,
    }


def chart_notice(data: ChartData, selection: Selection) -> Any:
    if not data.reachable and data.candles:
        return notice("The database does not answer", "these are the last candles known; trying again", "trouble strip")
    if not data.reachable:
        return notice("The database does not answer", "trying again every few seconds", "trouble")
    if not data.candles:
        return notice(f"No candle of {selection.symbol} yet", "the stream is starting")
    return None


def chart_foot(data: ChartData) -> list[str]:
    if not data.candles:
        return ["Times in UTC"]
    newest = data.candles[-1]
    running = sum(not candle.is_final for candle in data.candles)
    source = newest.source.replace("_", " ")
    return [
        f"{len(data.candles)} candles, newest {newest.window_start:%H:%M} from {source}",
        f" · {running} provisional, drawn lighter" if running else "",
        " · times in UTC",
    ]
