"""Query, build, return, for the operations page: a callback a source, so that none waits for another."""

from __future__ import annotations

from asyncio import get_running_loop
from datetime import datetime
from typing import Any, TypeVar

from dash import ClientsideFunction, Dash, Input, Output, State, html, no_update

from include.dashboard.charts.colours import Colours, colours
from include.dashboard.charts.stream_rate import stream_rate_figure
from include.dashboard.components.attributes import aria
from include.dashboard.components.dag_runs_table import dag_runs_table
from include.dashboard.components.data_gaps import data_gaps
from include.dashboard.components.notice import notice
from include.dashboard.components.panel_state import panel
from include.dashboard.components.records_list import records_head, records_list
from include.dashboard.components.sources_panel import sources_table, switches_table
from include.dashboard.components.stream_queries import stream_queries
from include.dashboard.components.topics_table import topics_table
from include.dashboard.operations_selection import OperationsSelection
from include.dashboard.operations_view import CHART_SPAN, OperationsView, StreamPicture
from include.dashboard.operations_words import clock_words, stale_words, stream_state
from include.dashboard.remembered import Known, Remembered
from include.dashboard.selection import QUALITY_PATH
from include.errors import MarketDataError

DATABASE_AWAY = "The database does not answer"
Answer = TypeVar("Answer")


async def look(view: OperationsView, remembered: Remembered[Answer]) -> Known[Answer]:
    """The answer, asked for in a thread of the page's own."""
    return await get_running_loop().run_in_executor(view.threads, remembered.look)


def register(app: Dash, view: OperationsView) -> None:
    """All panels but the dead letters, and the missing minutes of the quality page."""
    _register_stream(app, view)
    _register_clientside(app)
    _register_panels(app, view)
    _register_records(app, view)


def _register_stream(app: Dash, view: OperationsView) -> None:
    @app.callback(
        Output("heartbeat", "data"),
        Output("operations-state", "children"),
        Output("stream-queries", "children"),
        Output("stream-rate", "figure"),
        Input("refresh", "n_intervals"),
        Input("appearance", "data"),
    )
    async def show_stream(_beat: int | None, scheme: str | None) -> tuple[Any, ...]:
        known = await look(view, view.stream)
        return stream_parts(known, view.clock(), colours(scheme), view.airflow_url)


def _register_clientside(app: Any) -> None:
    app.clientside_callback(
        ClientsideFunction("market", "heartbeatAge"),
        Output("operations-age", "children"),
        Output("operations-age", "className"),
        Output("operations-age", "title"),
        Input("tick", "n_intervals"),
        Input("heartbeat", "data"),
    )


def _register_panels(app: Dash, view: OperationsView) -> None:
    @app.callback(Output("sources", "children"), Output("source-switches", "children"), Input("refresh", "n_intervals"))
    async def show_sources(_beat: int | None) -> tuple[Any, Any]:
        known, now = await look(view, view.source_states), view.clock()
        return (
            panel(known, lambda found: sources_table(found, view.sources, now), DATABASE_AWAY),
            panel(known, lambda found: switches_table(found, now), DATABASE_AWAY),
        )

    @app.callback(Output("dag-runs", "children"), Input("refresh", "n_intervals"))
    async def show_runs(_beat: int | None) -> Any:
        known, now = await look(view, view.dag_runs), view.clock()
        return panel(known, lambda runs: dag_runs_table(runs, view.airflow_url, now), "Airflow does not answer")

    @app.callback(Output("data-gaps", "children"), Input("refresh", "n_intervals"))
    async def show_gaps(_beat: int | None) -> Any:
        known, now = await look(view, view.gaps), view.clock()
        return panel(known, lambda found: data_gaps(found, now), DATABASE_AWAY)


def _register_records(app: Dash, view: OperationsView) -> None:
    @app.callback(
        Output("topics", "children"),
        Output("records-head", "children"),
        Input("refresh", "n_intervals"),
        Input("url", "search"),
    )
    async def show_topics(_beat: int | None, search: str | None) -> tuple[Any, Any]:
        known, selection = await look(view, view.topics), view.select(search)
        return (
            panel(known, lambda found: topics_table(found, selection), "Kafka does not answer"),
            records_head(selection, known.value or ()),
        )

    # Not by every beat: what is read must stand still.
    @app.callback(Output("records", "children"), Input("url", "search"), Input("records-again", "n_clicks"))
    async def show_records(search: str | None, _clicks: int | None) -> Any:
        selection = view.select(search)
        return await get_running_loop().run_in_executor(view.threads, shown_records, view, selection)

    @app.callback(
        Output("url", "search", allow_duplicate=True),
        Input("record-offset", "n_submit"),
        Input("record-go", "n_clicks"),
        State("record-offset", "value"),
        State("url", "search"),
        prevent_initial_call=True,
    )
    def go(_entered: int | None, _clicks: int | None, value: str | None, search: str | None) -> Any:
        if not _entered and not _clicks:
            return no_update
        return address_from(view.select(search), value)


def shown_records(view: OperationsView, selection: OperationsSelection) -> Any:
    """The records of the chosen topic, or why there are none to see."""
    if selection.topic is None:
        return None
    try:
        return records_list(view.records(selection), selection)
    except MarketDataError as error:
        return notice("Kafka does not answer", f"{error}; Look again tries once more", "trouble")


def address_from(selection: OperationsSelection, typed: str | None) -> Any:
    """The `search` of the address with the offset that was typed; none leads back to the newest."""
    text = (typed or "").strip().replace(",", "")
    if selection.topic is None or (text and not (text.isascii() and text.isdecimal() and len(text) <= 18)):
        return no_update
    return "?" + selection.href(offset=int(text) if text else None).partition("?")[2]


def stream_parts(known: Known[StreamPicture], now: datetime, palette: Colours, airflow_url: str) -> tuple[Any, ...]:
    """Clock, state, queries and chart."""
    picture = known.value
    unknown = "Not known" if known.failure else "Loading"
    chart = (
        stream_rate_figure((), None, CHART_SPAN, palette, unknown)
        if picture is None
        else stream_rate_figure(picture.minutes, known.at, CHART_SPAN, palette)
    )
    return (
        clock_words(known, now),
        state_line(known, now, airflow_url),
        panel(known, lambda found: stream_queries(found, now), DATABASE_AWAY),
        chart,
    )


def state_line(known: Known[StreamPicture], now: datetime, airflow_url: str) -> list[Any]:
    """Sign, title and detail, then the ways to what steers the stream."""
    found, said = stream_state(known, now), stale_words(known)
    lease = known.value.lease if known.value else None
    spark_ui = lease.details.get("spark_ui") if lease is not None and lease.owner else None
    ways = [
        html.A("market_stream in Airflow", href=f"{airflow_url}/dags/market_stream", className="way"),
        *([html.A("Spark UI", href=str(spark_ui), className="way")] if str(spark_ui).startswith("http") else []),
        html.A("How good the data are", href=QUALITY_PATH, className="way"),
    ]
    return [
        html.Div(
            className=f"overall {found.kind}",
            children=[
                html.Span(found.sign, className="sign", **aria(hidden="true")),
                html.Div([html.H1(found.title), html.P(found.detail)]),
            ],
        ),
        html.Nav(ways, className="run-links", **aria(label="Ways")),
        *([html.P(said, className="remark", role="status")] if said else []),
    ]
