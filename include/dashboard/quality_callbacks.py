"""Query, build, return, for the quality page. Nothing is drawn anew while nothing is new: what is open stays open."""

from __future__ import annotations

from asyncio import to_thread
from typing import Any

from dash import ClientsideFunction, Dash, Input, Output, State, no_update

from include.dashboard.charts.colours import Colours, colours
from include.dashboard.charts.pass_rate import pass_rate_figure
from include.dashboard.charts.symbol_course import HEIGHT_PX, symbol_course_figure
from include.dashboard.charts.symbol_strips import strip_height, strips_figure
from include.dashboard.components.failing_checks import failing_checks
from include.dashboard.components.graph import graph
from include.dashboard.components.holdings import archive, quarantine
from include.dashboard.components.notice import notice
from include.dashboard.components.quality_changes import quality_changes
from include.dashboard.components.quality_state import quality_state
from include.dashboard.components.results_grid import grid_rows
from include.dashboard.components.symbol_measures import symbol_measures
from include.dashboard.components.titled import titled
from include.dashboard.quality_view import Picture, QualityView
from include.dashboard.quality_words import remark
from include.dashboard.selection import QualitySelection

#: Parts that `drawn` makes.
_PARTS = 9


def register(app: Dash, view: QualityView) -> None:
    """The queries wait in threads: the server's loop never waits for a store."""

    @app.callback(
        Output("checked", "data"),
        Output("quality-shown", "data"),
        Output("quality-state", "children"),
        Output("pass-rate", "figure"),
        Output("quality-changes", "children"),
        Output("failing-checks", "children"),
        Output("symbol-courses", "children"),
        Output("symbol-measures", "children"),
        Output("results", "rowData"),
        Output("quarantine", "children"),
        Output("archive", "children"),
        Input("refresh", "n_intervals"),
        Input("url", "search"),
        Input("appearance", "data"),
        State("quality-shown", "data"),
    )
    async def show_quality(
        _beat: int | None, search: str | None, scheme: str | None, shown: str | None
    ) -> tuple[Any, ...]:
        selection = view.select(search)
        picture = await to_thread(view.picture, selection)
        version = f"{picture.version} {remark(picture)} {selection} {scheme}"
        if version == shown:
            return checked_clock(picture), *([no_update] * (_PARTS + 1))
        # Blue and orange for every reader: what failed must not be told from what passed by red and green.
        parts = drawn(picture, selection, colours(scheme, blue_orange=True), view.airflow_url)
        return checked_clock(picture), version, *parts

    _register_clientside(app)


def _register_clientside(app: Any) -> None:
    app.clientside_callback(
        ClientsideFunction("market", "checkedAge"),
        Output("checked-age", "children"),
        Output("checked-age", "className"),
        Output("checked-age", "title"),
        Input("tick", "n_intervals"),
        Input("checked", "data"),
    )
    app.clientside_callback(
        ClientsideFunction("market", "run"),
        Output("url", "search"),
        Input("pass-rate", "clickData"),
        State("url", "search"),
        prevent_initial_call=True,
    )


def drawn(picture: Picture, selection: QualitySelection, palette: Colours, airflow_url: str) -> tuple[Any, ...]:
    """The parts of the page, in the order of the outputs."""
    state = quality_state(picture, selection, airflow_url)
    if not picture.is_known:
        unknown = notice("Not known", "the database does not answer", "trouble")
        rates = pass_rate_figure((), None, palette, "Not known")
        return state, rates, unknown, unknown, unknown, None, [], unknown, unknown
    return (
        state,
        pass_rate_figure(picture.rates, picture.run.run_id if picture.run else None, palette),
        quality_changes(picture),
        failing_checks(picture, selection),
        symbol_courses(picture, selection, palette),
        symbol_measures(picture, selection),
        grid_rows(picture),
        quarantine(picture),
        archive(picture),
    )


def checked_clock(picture: Picture) -> dict[str, Any]:
    """What the browser's clock goes on counting from: epoch milliseconds of now and of the end of the newest run."""
    finished = picture.newest.finished_at if picture.newest else None
    return {
        "now": int(picture.now.timestamp() * 1000),
        "newest": None if finished is None else int(finished.timestamp() * 1000),
        "reachable": picture.reachable,
    }


def symbol_courses(picture: Picture, selection: QualitySelection, palette: Colours) -> Any:
    """A strip for each dimension over all symbols, or the courses of the chosen one."""
    if not picture.series:
        return notice("No measure of a symbol in this span", "each run of the checks makes one")
    if selection.symbol:
        figure = symbol_course_figure(picture.series, palette)
        return graph("symbol-course", figure, is_still=True, style={"height": f"{HEIGHT_PX}px"})
    symbols = sorted({each.symbol for each in picture.series})
    height = {"height": f"{strip_height(symbols)}px"}
    return [
        titled(
            title,
            graph(f"{name}-strip", strips_figure(picture.series, name, symbols, palette), is_still=True, style=height),
        )
        for name, title in (
            ("freshness", "Freshness: the fuller, the older the newest event; ✕ stale while its market is open"),
            ("completeness", "Completeness: the fuller, the more minutes are missing; ✕ a hole longer than is usual"),
        )
    ]
