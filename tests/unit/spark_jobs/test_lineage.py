"""What the driver tells of lineage: a run of each query with the offsets that it read, whatever becomes of the disk."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from include.errors import LeaseLost
from include.operations.lineage_events import Places
from include.operations.lineage_journal import Journal
from spark_jobs import lineage
from spark_jobs.lineage import StreamLineage
from tests.waiting import wait_until

PLACES = Places("market-data.sandbox", "kafka://k:1", "postgres://p:2", "financial_data")
TOPIC = "market.stock.events.v1"


def told(folder: Path) -> StreamLineage:
    sink: Any = SimpleNamespace(query_name="events_stock", checkpoint_id="one", epoch=7)
    return StreamLineage(Journal(folder), PLACES, {"stock": sink}, "4.2.0")


def written(folder: Path) -> list[dict[str, Any]]:
    file = folder / "openlineage.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def test_a_run_begins_goes_on_and_ends_with_what_it_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lineage, "EVERY_SECONDS", 0.01)
    passed: list[Any] = []
    with told(tmp_path) as running:
        note = running.noted("stock", passed.append)
        note({TOPIC: {"0": [5, 9]}})
        note({TOPIC: {"0": [9, 12], "1": [3, 4]}})
        wait_until(lambda: len(written(tmp_path)) > 2, seconds=10, what="a RUNNING event")
    assert len(passed) == 2
    events = written(tmp_path)
    assert [each["eventType"] for each in (events[0], events[1], events[-1])] == ["START", "RUNNING", "COMPLETE"]
    assert len({each["run"]["runId"] for each in events}) == 1
    last = events[-1]
    (topic,) = last["inputs"]
    assert (topic["namespace"], topic["name"]) == ("kafka://k:1", TOPIC)
    assert topic["facets"]["marketData_offsets"]["partitions"] == {"0": [5, 12], "1": [3, 4]}
    assert "financial_data.market.candles" in [each["name"] for each in last["outputs"]]
    facets = last["run"]["facets"]
    assert (facets["marketData_stream"]["checkpointId"], facets["marketData_stream"]["epoch"]) == ("one", 7)
    assert facets["marketData_code"]["version"]


@pytest.mark.parametrize(
    ("failure", "kind"), [(LeaseLost("another"), "ABORT"), (ValueError("why"), "FAIL"), (KeyboardInterrupt(), "FAIL")]
)
def test_an_error_ends_the_run_and_goes_on_up(tmp_path: Path, failure: BaseException, kind: str) -> None:
    with pytest.raises(type(failure)), told(tmp_path):
        raise failure
    last = written(tmp_path)[-1]
    assert last["eventType"] == kind
    assert last["run"]["facets"]["errorMessage"]["message"]


def test_a_disk_that_takes_nothing_does_not_reach_the_stream(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    done = threading.Event()
    with told(blocked) as running:
        running.noted("stock", lambda offsets: done.set())({TOPIC: {"0": [0, 1]}})
    assert done.is_set()
