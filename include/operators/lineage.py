"""What Airflow's own runs tell of lineage: a listener that writes to the journal, and the send-off of what is there.

Not by Airflow's OpenLineage provider: measured here, it costs each process that loads it 1.8 s of processor time, each
task two forks that it waits for (0.1 to 0.3 s each), and 7 kB an event. This takes 70 ms for the first event of a
process, in modules that its task needs anyway, 0.5 ms for the next, and 1.2 kB.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from airflow.listeners import hookimpl

log = logging.getLogger(__name__)


class DagLineage:
    """Airflow's listener, in the scheduler and in each task. It must never hold up or break what it listens to."""

    @hookimpl
    def on_dag_run_running(self, dag_run: Any, msg: str) -> None:
        _journal(lambda: dag_document("START", dag_run))

    @hookimpl
    def on_dag_run_success(self, dag_run: Any, msg: str) -> None:
        _journal(lambda: dag_document("COMPLETE", dag_run))

    @hookimpl
    def on_dag_run_failed(self, dag_run: Any, msg: str) -> None:
        _journal(lambda: dag_document("FAIL", dag_run, msg or "no reason given"))

    @hookimpl
    def on_task_instance_running(self, previous_state: Any, task_instance: Any) -> None:
        _journal(lambda: task_document("START", task_instance))

    @hookimpl
    def on_task_instance_success(self, previous_state: Any, task_instance: Any) -> None:
        _journal(lambda: task_document("COMPLETE", task_instance))

    @hookimpl
    def on_task_instance_failed(self, previous_state: Any, task_instance: Any, error: Any) -> None:
        # An exception's words may quote what it stumbled on; what people did is a text of Airflow's own.
        reason = error if isinstance(error, str) else type(error).__name__
        _journal(lambda: task_document("FAIL", task_instance, reason))


def dag_document(kind: Any, dag_run: Any, failure: str | None = None) -> dict[str, Any]:
    """A DAG's run: its job is the DAG, its id follows from DAG and run."""
    from include.operations.lineage_events import Places, facet, failure_facet, run_event, run_id_of
    from include.settings import settings

    places = Places.of(settings())
    at = dag_run.start_date if kind == "START" else dag_run.end_date
    facets = {"marketData_airflow": facet("marketData_airflow", runId=dag_run.run_id)}
    if dag_run.data_interval_start and dag_run.data_interval_end:
        first, end = dag_run.data_interval_start.isoformat(), dag_run.data_interval_end.isoformat()
        facets["nominalTime"] = facet("nominalTime", nominalStartTime=first, nominalEndTime=end)
    if failure is not None:
        facets["errorMessage"] = failure_facet(failure)
    run_id = run_id_of(places.jobs, dag_run.dag_id, dag_run.run_id)
    return run_event(
        kind, at or datetime.now(UTC), places, dag_run.dag_id, run_id, job_type=("BATCH", "AIRFLOW", "DAG"), run=facets
    )


def task_document(kind: Any, task_instance: Any, failure: str | None = None) -> dict[str, Any]:
    """A try of a task: its job is DAG and task, its parent the DAG's run. What the pollers write is named."""
    from include.market.topics import DEAD_LETTERS, EVENTS
    from include.operations.lineage_events import (
        Places,
        facet,
        failure_facet,
        parent,
        run_event,
        run_id_of,
        task_job,
    )
    from include.settings import settings

    places, dag_id, run = Places.of(settings()), task_instance.dag_id, task_instance.run_id
    job = task_job(dag_id, task_instance.task_id)
    number = (task_instance.try_number, getattr(task_instance, "map_index", -1))
    facets = {
        "parent": parent(places, dag_id, run_id_of(places.jobs, dag_id, run)),
        "marketData_airflow": facet("marketData_airflow", runId=run, tryNumber=number[0], mapIndex=number[1]),
    }
    if failure is not None:
        facets["errorMessage"] = failure_facet(failure)
    topics = {"ingest_stocks": EVENTS["stock"], "ingest_crypto": EVENTS["crypto"]}
    outputs = [places.topic(topics[dag_id]), places.topic(DEAD_LETTERS)] if dag_id in topics else []
    at = task_instance.start_date if kind == "START" else getattr(task_instance, "end_date", None)
    return run_event(
        kind, at or datetime.now(UTC), places, job, run_id_of(places.jobs, job, run, *number),
        job_type=("BATCH", "AIRFLOW", "TASK"), run=facets, outputs=outputs,
    )  # fmt: skip


def journal_quality(request: Any, results: Any = (), failure: Exception | None = None) -> None:
    """Write down what a run of the checks found, or that it could not look. A failure to write is told, not raised."""
    from include.code_version import code_version
    from include.operations.lineage_events import Places, quality_event
    from include.settings import settings

    _journal(
        lambda: quality_event(
            Places.of(settings()), datetime.now(UTC), request.dag_run_id, request.run_id, request.covered,
            code_version(), results, failure,
        )
    )  # fmt: skip


def send_lineage() -> dict[str, Any]:
    """Send on what was written since the last time: what each way was sent, or why not."""
    from include.errors import MarketDataError
    from include.operations.lineage_journal import journal_of
    from include.operations.lineage_shipping import ship, ways
    from include.operators.services import connected_settings

    try:
        chosen = connected_settings()
        return ship(journal_of(chosen), ways(chosen), chosen.state_dir / "lineage" / "sent.json")
    except (MarketDataError, OSError, ValueError) as failure:
        log.warning("lineage events were not sent: %s", failure)
        return {"failed": str(failure)}


def _journal(made: Callable[[], dict[str, Any]]) -> None:
    from include.errors import MarketDataError
    from include.operations.lineage_journal import journal_of
    from include.settings import settings

    try:
        journal_of(settings()).append(made())
    except (MarketDataError, OSError, AttributeError, TypeError, ValueError) as failure:
        log.warning("a lineage event was not written: %s", failure)
