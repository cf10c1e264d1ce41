"""The newest runs of the DAGs, each with the way to its page in Airflow."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from dash import html

from include.dashboard.components.notice import notice
from include.dashboard.components.table import table
from include.dashboard.formatting import age_text
from include.dashboard.operations_words import duration_words, moment_of, run_sign
from include.operations.dag_runs import DagRun

_KINDS = {"success": "good", "failed": "bad", "running": "warn"}


def dag_runs_table(runs: Sequence[DagRun], airflow_url: str, now: datetime) -> Any:
    if not runs:
        return notice("No run yet", "a DAG that is not paused runs at its times")
    failed = sum(run.state == "failed" for run in runs)
    caption = f"The newest {len(runs)} runs, " + (f"{failed} failed" if failed else "none failed")
    return table(
        ("DAG and run", "State", "Type", "Started", "Took"), [_row(each, airflow_url, now) for each in runs], caption
    )


def _row(run: DagRun, airflow_url: str, now: datetime) -> list[Any]:
    since = run.started_at or run.run_after
    took = run.duration_seconds
    if took is not None:
        lasted = duration_words(took)
    elif run.started_at is not None:
        lasted = f"for {age_text((now - run.started_at).total_seconds())} now"
    else:
        lasted = "not begun"
    state: list[Any] = [html.Span(run_sign(run.state), className="sign"), run.state]
    return [
        html.A(run.dag_id, href=run.href(airflow_url), title=run.run_id, className="dag-run"),
        html.Span(state, className=f"told {_KINDS.get(run.state, 'waiting')}"),
        run.run_type.replace("_", " "),
        "not known" if since is None else f"{moment_of(since, now)} UTC",
        lasted,
    ]
