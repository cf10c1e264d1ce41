"""The DAG that tells people: every minute, with a form for a test message, and a memory from run to run."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from include.operators.alerts import MEMORY
from tests.unit.dags.test_dags import dags

__all__ = ["dags"]


def test_it_looks_every_minute_and_sends_no_test_unless_asked(dags: dict[str, Any]) -> None:
    dag = dags["notify_anomalies"]
    assert dag.timetable.delta == timedelta(seconds=60)
    assert dag.params["test_message"] is False


def test_its_task_may_read_and_write_its_memory(dags: dict[str, Any]) -> None:
    task = dags["notify_anomalies"].get_task("notify_people")
    assert [inlet.name for inlet in task.inlets] == [MEMORY.name]
    assert task.outlets == [], "an outlet would be an asset event a minute"
