"""What Airflow's listener writes: runs and tries with their parents, on disk only, and never an error."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from include.operations.lineage_events import run_id_of
from include.operators.lineage import DagLineage, journal_quality
from include.settings import Settings

START = datetime(2026, 3, 2, 14, 30, tzinfo=UTC)
END = START + timedelta(seconds=9)
SPACE = "market-data.sandbox"
DAG_RUN = SimpleNamespace(
    dag_id="ingest_stocks", run_id="scheduled__1", start_date=START, end_date=END, data_interval_start=START,
    data_interval_end=END,
)  # fmt: skip
TASK = SimpleNamespace(
    dag_id="ingest_stocks", task_id="publish_events", run_id="scheduled__1", try_number=2, map_index=-1,
    start_date=START, end_date=END,
)  # fmt: skip


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    chosen = Settings(
        pipeline_home=tmp_path,
        market="sandbox",
        kafka_bootstrap_servers="127.0.0.1:29092",
        database_url="postgresql://dataeng:s3cret@127.0.0.1:25432/financial_data",
        redis_url="redis://:s3cret@127.0.0.1:26379/0",
    )
    monkeypatch.setattr("include.settings.settings", lambda: chosen)
    return tmp_path


def written(home: Path) -> list[dict[str, Any]]:
    file = home / "sandbox" / "lineage" / "openlineage.jsonl"
    assert "s3cret" not in file.read_text()
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_a_run_of_a_dag_begins_and_ends_under_one_id(home: Path) -> None:
    listener = DagLineage()
    listener.on_dag_run_running(DAG_RUN, "")
    listener.on_dag_run_success(DAG_RUN, "")
    listener.on_dag_run_failed(DAG_RUN, "task_failure")
    begun, ended, failed = written(home)
    assert [each["eventType"] for each in (begun, ended, failed)] == ["START", "COMPLETE", "FAIL"]
    assert (begun["eventTime"], ended["eventTime"]) == (START.isoformat(), END.isoformat())
    assert {each["run"]["runId"] for each in (begun, ended)} == {run_id_of(SPACE, "ingest_stocks", "scheduled__1")}
    assert begun["run"]["facets"]["nominalTime"]["nominalEndTime"] == END.isoformat()
    assert failed["run"]["facets"]["errorMessage"]["message"] == "task_failure"
    assert begun["job"]["name"] == "ingest_stocks"


def test_a_try_of_a_task_has_its_run_as_parent_and_names_what_it_writes(home: Path) -> None:
    listener = DagLineage()
    listener.on_task_instance_running(None, TASK)
    listener.on_task_instance_success(None, TASK)
    other = SimpleNamespace(**{**vars(TASK), "dag_id": "market_stream", "try_number": 1})
    listener.on_task_instance_failed(None, other, ValueError("a row with figures"))
    begun, ended, failed = written(home)
    assert begun["job"]["name"] == "ingest_stocks.publish_events"
    assert begun["run"]["facets"]["parent"]["run"]["runId"] == run_id_of(SPACE, "ingest_stocks", "scheduled__1")
    assert begun["run"]["runId"] == ended["run"]["runId"] != failed["run"]["runId"]
    assert [each["name"] for each in begun["outputs"]] == ["market.stock.events.v1", "market.events.dlq.v1"]
    assert failed["outputs"] == []
    assert failed["run"]["facets"]["errorMessage"]["message"] == "ValueError"


@pytest.mark.parametrize("trouble", ["no folder", "no market", "no such field"])
def test_what_cannot_be_written_is_told_and_stops_nothing(
    home: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, trouble: str
) -> None:
    run = DAG_RUN
    if trouble == "no folder":
        (home / "sandbox").write_text("a file is in the way")
    elif trouble == "no market":
        monkeypatch.setattr("include.settings.settings", lambda: Settings.model_construct())
    else:
        run = SimpleNamespace()
    DagLineage().on_dag_run_running(run, "")
    assert "a lineage event was not written" in caplog.text


def test_a_quality_run_that_broke_off_is_a_failure(home: Path) -> None:
    request = SimpleNamespace(dag_run_id=None, run_id="run", covered=(START, END))
    journal_quality(request, failure=ValueError("x"))
    (event,) = written(home)
    assert (event["eventType"], event["job"]["name"]) == ("FAIL", "data_quality")
    assert "parent" not in event["run"]["facets"]
