"""Query, build, return, for the market page: what an address shows. What comes later is pushed: see live.py."""

from __future__ import annotations

from asyncio import to_thread
from typing import Any

from dash import ALL, ClientsideFunction, Dash, Input, Output, State, ctx, no_update

from include.dashboard.alerts_view import AlertsView
from include.dashboard.charts.candlestick import candlestick_figure
from include.dashboard.charts.colours import colours
from include.dashboard.components.alerts_list import BUTTON, alerts_list
from include.dashboard.components.instrument_bar import instrument_bar
from include.dashboard.components.layer_bar import layer_bar
from include.dashboard.components.notice import notice
from include.dashboard.components.watchlist import watchlist
from include.dashboard.export import chart_csv
from include.dashboard.market_view import Board, ChartData, MarketView
from include.dashboard.selection import Selection


def register(app: Dash, view: MarketView, alerts: AlertsView) -> None:
    """The queries wait in threads: the server's loop never waits for a store."""

    @app.callback(
        Output("watchlist", "children"),
        Output("instrument-bar", "children"),
        Output("layer-bar", "children"),
        Output("board", "data"),
        Input("url", "search"),
        Input("redraw", "data"),
    )
    async def show_prices(search: str | None, _redraw: Any) -> tuple[Any, Any, Any, Any]:
        selection = view.select(search)
        board = await to_thread(view.board)
        return (
            watchlist(view.instruments, board.prices, board.courses, selection, board.now),
            instrument_bar(view.instrument(selection.symbol), board.prices.get(selection.symbol), selection),
            layer_bar(selection),
            freshness(board),
        )

    @app.callback(
        Output("figure", "data"),
        Output("notice", "children"),
        Output("chart-foot", "children"),
        Input("url", "search"),
        Input("redraw", "data"),
        Input("appearance", "data"),
        Input("blue-orange", "checked"),
    )
    async def show_chart(
        search: str | None, _redraw: Any, scheme: str | None, blue_orange: bool | None
    ) -> tuple[Any, Any, Any]:
        selection = view.select(search)
        data = await to_thread(view.chart, selection)
        figure = candlestick_figure(data.candles, selection, colours(scheme, bool(blue_orange)), data.marks)
        figure["layout"]["meta"]["isLive"] = data.is_live
        return figure, chart_notice(data, selection), chart_foot(data)

    @app.callback(
        Output("alerts", "children"),
        Input("alerts-version", "data"),
        Input({"type": BUTTON, "key": ALL}, "n_clicks"),
    )
    async def show_alerts(_version: Any, _clicks: list[int | None]) -> Any:
        pressed = ctx.triggered_id
        # A button that has just come with the list triggers too, without a click.
        if isinstance(pressed, dict):
            if not any(each["value"] for each in ctx.triggered):
                return no_update
            await to_thread(alerts.acknowledge, pressed["key"])
        found = await to_thread(alerts.newest)
        if found is None:
            return notice("The database does not answer", "trying again every few seconds", "trouble")
        return alerts_list(found, alerts.now(), view.symbols)

    @app.callback(
        Output("csv", "data"),
        Input("export-csv", "n_clicks"),
        State("url", "search"),
        prevent_initial_call=True,
    )
    async def export(_clicks: int | None, search: str | None) -> Any:
        selection = view.select(search)
        data = await to_thread(view.chart, selection)
        name = f"{selection.symbol}-{selection.timeframe}.csv"
        return {"content": chart_csv(data), "filename": name, "type": "text/csv", "base64": False}

    _register_clientside(app)


def _register_clientside(app: Any) -> None:
    app.clientside_callback(ClientsideFunction("market", "fitted"), Output("chart", "figure"), Input("figure", "data"))
    app.clientside_callback(
        ClientsideFunction("market", "legend"),
        Output("legend", "children"),
        Input("chart", "hoverData"),
        Input("chart", "figure"),
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
        ClientsideFunction("market", "watch"), Output("search", "aria-label"), Input("url", "search")
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
    if not data.candles and selection.start is not None:
        return notice(f"No candle of {selection.symbol} in this range", "0 leads back to now")
    if not data.candles:
        return notice(f"No candle of {selection.symbol} yet", "the stream is starting")
    return None


def chart_foot(data: ChartData) -> list[str]:
    if not data.candles:
        return ["Times in UTC"]
    oldest, running = data.candles[0], sum(not candle.is_final for candle in data.candles)
    gaps = len(data.marks.gaps)
    return [
        f"{len(data.candles)} candles since {oldest.window_start:%Y-%m-%d %H:%M}",
        f" · {running} provisional, drawn lighter" if running else "",
        f" · {gaps} gap{'' if gaps == 1 else 's'}" if gaps else "",
        " · hollow rose, filled fell · times in UTC",
    ]
