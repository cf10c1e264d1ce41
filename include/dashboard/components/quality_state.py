"""The top of the quality page: the state in one line, the run it is of, and the ways to other runs and spans."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from dash import dcc, html

from include.dashboard.components.attributes import aria
from include.dashboard.quality_view import Picture
from include.dashboard.quality_words import overall, remark
from include.dashboard.selection import SPANS, QualitySelection
from include.storage.quality_rows import Run

DAG_ID = "check_data_quality"


def quality_state(picture: Picture, selection: QualitySelection, airflow_url: str) -> list[Any]:
    """Sign, title and detail, then the links, then what else must be known."""
    found = overall(picture, selection)
    said = remark(picture)
    return [
        html.Div(
            className=f"overall {found.kind}",
            children=[
                html.Span(found.sign, className="sign", **aria(hidden="true")),
                html.Div([html.H1(found.title), html.P([found.detail, *_run_links(picture.run, airflow_url)])]),
            ],
        ),
        html.Nav(className="run-links", children=_ways(picture, selection), **aria(label="Runs and span")),
        *([html.P(said, className="remark", role="status")] if said else []),
    ]


def airflow_run_url(airflow_url: str, dag_run_id: str) -> str:
    """The run's page in Airflow."""
    return f"{airflow_url}/dags/{DAG_ID}/runs/{quote(dag_run_id, safe='')}"


def _run_links(run: Run | None, airflow_url: str) -> list[Any]:
    if run is None or run.dag_run_id is None:
        return []
    return [" · run ", html.A(run.dag_run_id, href=airflow_run_url(airflow_url, run.dag_run_id), className="run-id")]


def _ways(picture: Picture, selection: QualitySelection) -> list[Any]:
    runs = [("← Older run", picture.older), ("Newer run →", picture.newer)]
    links: list[Any] = [
        dcc.Link(text, href=selection.href(run=run), className="way")
        if run
        else html.Span(text, className="way", **aria(disabled="true"))
        for text, run in runs
    ]
    if selection.run is not None:
        links.append(dcc.Link("Newest run", href=selection.href(run=None), className="way"))
    spans = [_span(each, selection) for each in SPANS]
    return [html.Span(links, className="ways"), html.Span(spans, className="timeframes")]


def _span(span: Any, selection: QualitySelection) -> html.Span:
    chosen = span == selection.span
    link = dcc.Link(span, href=selection.href(span=span), className="timeframe")
    return html.Span(link, className="chosen" if chosen else "", **(aria(current="true") if chosen else {}))
