"""The Spark driver as the connections give it, and what the DAG's form can do to it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from include.operations.stream import SPARK_DRIVER, Application, Supervision, kafka_backlog, opened_store
from include.operators.detached import last_words
from include.operators.services import connected_settings, database_url
from include.operators.spark_driver import STREAM, SparkSubmit
from include.operators.stream_operator import MARKED_FAILED
from include.settings import required
from include.storage.supervision import SupervisionStore

#: A cluster may let a driver wait for its resources.
CLUSTER_START_SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class Driver:
    """The supervision of the Spark driver, and the wishes of people."""

    supervision: Supervision
    store: SupervisionStore

    @property
    def start_seconds(self) -> float:
        """How long a start may take."""
        return self.supervision.application.rules.start_seconds

    def keep(self) -> dict[str, Any]:
        """Do what is to be done anyway; the report. A run that is called back says nothing about anybody's wish."""
        return self.supervision.step()

    def apply(self, action: str, *, run_id: str, by: str, attempt: int) -> dict[str, Any]:
        """Do what the form says, once a run, then what is to be done anyway; the report. `attempt` counts from 1."""
        lease = self.store.read().lease
        again = lease is not None and lease.desired_run == run_id
        why = f"{action} in run {run_id}"
        if again and attempt > 1 and lease is not None and lease.desired_by == MARKED_FAILED:
            # The run that was marked as failed runs again: somebody has cleared it. At the first attempt it was marked
            # while it began.
            self.store.desire("running", by=by, why=f"run {run_id} was cleared", run=run_id)
        elif again or action == "keep":
            return self.keep()
        elif action == "stop":
            self.store.desire("stopped", by=by, why=why, run=run_id)
        else:
            if action in ("restart", "rebuild"):
                self.supervision.stop(f"{action} by {by}")
            self.store.desire("running", by=by, why=why, run=run_id)
            return self.supervision.step(f"{action} by {by}", rebuild=action == "rebuild")
        return self.keep()


@contextmanager
def opened_driver(database: str = "postgres_default", spark: str = "spark_default") -> Iterator[Driver]:
    """Connected through Airflow's connections. Raises psycopg.Error, SettingsError."""
    chosen, url = connected_settings(), database_url(database)
    log_file = chosen.state_dir / "logs" / "stream.log"
    submit = SparkSubmit(chosen, spark)
    application: Application = SPARK_DRIVER
    if not submit.is_on_this_host:
        rules = replace(application.rules, start_seconds=CLUSTER_START_SECONDS)
        application = replace(application, rules=rules)
    with opened_store(url, application) as store:
        yield Driver(
            Supervision(
                application,
                store,
                launch=lambda rebuild: submit.launch(STREAM, log_file, ["--rebuild"] if rebuild else []),
                last_words=lambda: last_words(log_file),
                backlog=kafka_backlog(url, required(chosen.kafka_bootstrap_servers, "KAFKA_BOOTSTRAP_SERVERS")),
                on_this_host=submit.is_on_this_host,
            ),
            store,
        )
