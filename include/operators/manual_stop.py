"""A run of market_stream that a person marks as failed stops the stream. Runs in Airflow's API server."""

from __future__ import annotations

import logging
from typing import Any

from airflow.listeners import hookimpl

from include.operators.stream_operator import MARKED_FAILED

DAG_ID, TASK_ID = "market_stream", "ensure_stream"
#: Airflow's words where a person did it; an ordinary failure has others.
BY_A_PERSON = "state was manually set to"

log = logging.getLogger(__name__)


class ManualStop:
    """Airflow's listener. It must never hold up or break the request that it is called from."""

    @hookimpl
    def on_dag_run_failed(self, dag_run: Any, msg: str) -> None:
        if dag_run.dag_id == DAG_ID and BY_A_PERSON in (msg or ""):
            stop(dag_run.run_id)

    @hookimpl
    def on_task_instance_failed(self, previous_state: Any, task_instance: Any, error: Any) -> None:
        ours = task_instance.dag_id == DAG_ID and task_instance.task_id == TASK_ID
        if ours and isinstance(error, str) and BY_A_PERSON in error:
            stop(task_instance.run_id)


def stop(run_id: str) -> None:
    """Want the stream stopped; the driver reads that at its next heartbeat. A failure is told, not raised."""
    import psycopg

    from include.errors import SettingsError
    from include.operations.stream import SPARK_DRIVER, opened_store
    from include.settings import load_settings, required

    try:
        chosen = load_settings()
        url = required(chosen.writer_database_url or chosen.database_url, "WRITER_DATABASE_URL")
        with opened_store(url, SPARK_DRIVER) as store:
            store.desire("stopped", by=MARKED_FAILED, why=f"run {run_id} was marked as failed", run=run_id)
        log.info("the stream is to stop: run %s was marked as failed", run_id)
    except (psycopg.Error, SettingsError) as failure:
        log.error("the stream could not be told to stop, mark the run again: %s", failure)
