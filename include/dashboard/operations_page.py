"""The operations page before its first data: the stream, the sources, Kafka, dead letters, and runs of DAGs."""

from __future__ import annotations

from typing import Any

from dash import dcc, html

from include.dashboard.charts.colours import colours
from include.dashboard.charts.stream_rate import stream_rate_figure
from include.dashboard.components.graph import graph
from include.dashboard.components.notice import notice
from include.dashboard.components.section import section
from include.dashboard.operations_view import CHART_SPAN

_LOADING = ("Loading", "one moment")
BY_COMMAND = "To replay dead letters, use ./pipeline dead-letters replay: this page was started without the right to."


def operations_page(*, can_replay: bool) -> Any:
    """Each part is a section of its own heading; the callbacks fill them."""
    nothing = stream_rate_figure((), None, CHART_SPAN, colours(None), "Loading")
    rate = graph("stream-rate", nothing, is_still=True, style={"height": "15.5rem"})
    return html.Div(
        className="quality operations",
        children=[
            dcc.Store(id="heartbeat"),
            html.Header(notice(*_LOADING), id="operations-state", className="panel quality-state"),
            section("Queries of the stream", "", _filled("stream-queries"), "queries"),
            section("Rows a minute", "as batches were committed, the last hour", rate, "rows"),
            section("Switches between sources", "", _filled("source-switches"), "switches"),
            section("Sources", "breaker, bans and quotas", _filled("sources"), "sources"),
            section("Kafka topics", "offsets now", _filled("topics"), "topics"),
            section("A look at records", "read only; no group is moved", _look(), "look"),
            section("Dead letters", "what was refused, and why", _letters(can_replay), "letters"),
            section("Runs of DAGs", "each leads to Airflow", _filled("dag-runs"), "runs"),
        ],
    )


def _filled(name: str) -> html.Div:
    return html.Div(notice(*_LOADING), id=name)


def _look() -> html.Div:
    return html.Div(
        [
            html.Div(
                [
                    html.Div(id="records-head", className="ways"),
                    html.Label(
                        [
                            "From offset ",
                            dcc.Input(
                                id="record-offset", type="text", inputMode="numeric", className="offset", value=""
                            ),
                        ]
                    ),
                    html.Button("Go", id="record-go", type="button", className="tool"),
                    html.Button("Look again", id="records-again", type="button", className="tool"),
                ],
                className="look-head",
            ),
            html.Div(id="records"),
        ]
    )


def _letters(can_replay: bool) -> html.Div:
    return html.Div(
        [
            dcc.Store(id="letters-shown"),
            dcc.Store(id="letters-judged"),
            dcc.Store(id="letters-changed"),
            html.Div(_replaying() if can_replay else html.P(BY_COMMAND, className="hint"), className="look-head"),
            html.Div(id="letters-verdict", role="status"),
            html.Div(id="letter-opened"),
            _filled("letters"),
        ]
    )


def _replaying() -> list[Any]:
    return [
        html.Button("Replay the chosen…", id="letters-judge", type="button", className="tool"),
        html.Button("Confirm: publish", id="letters-confirm", type="button", className="tool", hidden=True),
        html.Span("judged first by today's rules; nothing is published before you confirm", className="hint"),
    ]
