"""The quality page before its first data: state, courses, what fails, what is held."""

from __future__ import annotations

from typing import Any

from dash import dcc, html

from include.dashboard.charts.colours import colours
from include.dashboard.charts.pass_rate import pass_rate_figure
from include.dashboard.components.graph import graph
from include.dashboard.components.notice import notice
from include.dashboard.components.results_grid import results_grid
from include.dashboard.components.section import section

_LOADING = ("Loading the checks", "one moment")


def quality_page() -> Any:
    """Each part is a section of its own heading; `quality_callbacks` fills them."""
    empty = pass_rate_figure((), None, colours(None))
    rates = graph("pass-rate", empty, is_still=True, style={"height": "15.5rem"})
    return html.Div(
        className="quality",
        children=[
            dcc.Store(id="checked"),
            dcc.Store(id="quality-shown"),
            html.Header(notice(*_LOADING), id="quality-state", className="panel quality-state"),
            section("Pass rate of the runs", "a point chooses its run", rates, "rate"),
            section("Since yesterday", "", html.Div(notice(*_LOADING), id="quality-changes"), "since"),
            section(
                "Failing checks", "open one for its rows", html.Div(notice(*_LOADING), id="failing-checks"), "fails"
            ),
            section("Symbols", "", _symbols(), "symbols"),
            section("All results of the run", "failing first", results_grid(), "all-results"),
            section(
                "Missing minutes",
                "in session, and what becomes of them",
                html.Div(notice(*_LOADING), id="data-gaps"),
                "gaps",
            ),
            section("Quarantine", "events that wait for a decision", html.Div(id="quarantine"), "held"),
            section("Archive", "days of each table", html.Div(id="archive"), "archive-days"),
        ],
    )


def _symbols() -> html.Div:
    return html.Div([html.Div(id="symbol-courses"), html.Div(id="symbol-measures")], className="symbols-body")
