"""The task that keeps the driver as it is wanted: one step by a worker, then a watch that needs none."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator, Param

from include.operators.stream_link import SparkUiLink

if TYPE_CHECKING:
    from include.operators.stream_driver import Driver

ACTIONS = ("keep", "start", "stop", "restart", "rebuild")
#: From the run's time on; the next run comes after 60 s, and runs must not pile up.
WATCH_SECONDS = 55.0
#: `desired_by` of a stream that was stopped through the state of a run.
MARKED_FAILED = "a person who marked a run as failed"


def stream_params() -> dict[str, Any]:
    """The DAG's form."""
    return {
        "action": Param(
            "keep",
            type="string",
            enum=list(ACTIONS),
            title="Action",
            description="keep: as it is wanted now. stop: until somebody starts it. start: also after many bad ends. "
            "restart: stop and start. rebuild: restart, and read the topics again from their start.",
        )
    }


class KeepStreamOperator(BaseOperator):
    """Applies the form, starts, stops or replaces the driver if need be, and watches it for the rest of the minute.

    Each step is idempotent: tries, overlapping runs and a lost watch do no harm. Fails only where nothing more is
    tried without a person or some time. The report is the task's XCom.
    """

    operator_extra_links = (SparkUiLink(),)

    def __init__(self, *, database: str = "postgres_default", spark: str = "spark_default", **more: Any) -> None:
        super().__init__(**more)
        self.database = database
        self.spark = spark
        self.spark_ui: str | None = None

    def execute(self, context: Any) -> dict[str, Any]:
        run = context["dag_run"]
        by = getattr(run, "triggering_user_name", None) or "a person"
        action = context["params"].get("action", "keep")
        attempt = context["ti"].try_number
        return self._take(context, lambda driver: driver.apply(action, run_id=run.run_id, by=by, attempt=attempt))

    def resume(self, context: Any, event: dict[str, Any]) -> dict[str, Any]:
        """The watch saw something that a worker has to do."""
        self.log.info("the watch says: %s", event["why"])
        return self._take(context, lambda driver: driver.keep())

    def _take(self, context: Any, step: Callable[[Driver], dict[str, Any]]) -> dict[str, Any]:
        from airflow.sdk.exceptions import AirflowFailException

        from include.operations.stream import halted
        from include.operations.stream_report import lines
        from include.operators.stream_driver import opened_driver

        with opened_driver(self.database, self.spark) as driver:
            told = step(driver)
            start_seconds = driver.start_seconds
        for line in lines(told):
            self.log.info("%s", line)
        self.spark_ui = told["spark_ui"]
        if reason := halted(told):
            context["ti"].xcom_push(key="return_value", value=told)
            raise AirflowFailException(reason)
        run_at = context["dag_run"].run_after or datetime.now(UTC)
        self._watch(run_at + timedelta(seconds=WATCH_SECONDS), start_seconds)
        return told

    def _watch(self, until: datetime, start_seconds: float) -> None:
        """Leaves this worker if there is time left, by raising what Airflow takes for that."""
        from include.operators.stream_trigger import StreamTrigger

        left = until - datetime.now(UTC)
        if left > timedelta(seconds=2):
            trigger = StreamTrigger(until.isoformat(), start_seconds, self.database)
            self.defer(trigger=trigger, method_name="resume", timeout=left + timedelta(seconds=60))
