"""Every DAG: loads quickly, is named like its file, explains itself, retries, and runs at its times."""

from __future__ import annotations

import ast
import os
import runpy
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from include.operators import manual_stop
from include.operators.stream_operator import WATCH_SECONDS
from include.settings import PROJECT_ROOT

DAGS = sorted((PROJECT_ROOT / "dags").glob("*.py"))
#: Imports that cost seconds or reach out; a DAG file may have them inside its tasks only.
LIGHT = (
    "airflow.sdk", "airflow.providers.standard.operators.hitl", "datetime", "dataclasses", "pendulum", "typing",
    "collections", "collections.abc", "json", "include.settings", "__future__",
)  # fmt: skip


@pytest.fixture(scope="module")
def dags(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    os.environ["AIRFLOW_HOME"] = str(tmp_path_factory.mktemp("airflow"))
    from airflow.dag_processing.dagbag import DagBag

    bag = DagBag(dag_folder=str(PROJECT_ROOT / "dags"))
    assert bag.import_errors == {}
    yield bag.dags
    del os.environ["AIRFLOW_HOME"]


def test_each_file_is_one_dag_of_its_name(dags: dict[str, Any]) -> None:
    assert set(dags) == {file.stem for file in DAGS}


@pytest.mark.parametrize("file", DAGS, ids=lambda file: file.stem)
def test_a_dag_file_imports_nothing_heavy_at_its_top(file: Path) -> None:
    """Nor does a module of ours that it imports there: those of the language, and what DAGs share."""
    seen: set[Path] = set()
    open_files = [file]
    while open_files:
        looked_at = open_files.pop()
        seen.add(looked_at)
        for name in imported_at_top(looked_at) - set(LIGHT):
            assert name.startswith(("include.market.", "include.operators.")), f"{looked_at.name} imports {name}"
            ours = PROJECT_ROOT / f"{name.replace('.', '/')}.py"
            open_files += [ours] if name.startswith("include.operators.") and ours not in seen else []


def imported_at_top(file: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.parse(file.read_text()).body:
        if isinstance(node, ast.ImportFrom):
            found.add(node.module or "")
        elif isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
    return found


@pytest.mark.parametrize("dag_id", [file.stem for file in DAGS])
def test_a_dag_explains_itself_and_is_careful(dags: dict[str, Any], dag_id: str) -> None:
    dag = dags[dag_id]
    assert dag.doc_md.startswith("### ")
    assert dag.tags
    assert not dag.catchup
    assert dag.max_active_runs == 1
    for task in dag.tasks:
        assert task.retries >= 1, task.task_id
        assert task.execution_timeout is not None, task.task_id
        assert "_" in task.task_id, "verb and noun"


def test_ingestion_follows_the_setting_and_the_stream_is_looked_at_every_minute(dags: dict[str, Any]) -> None:
    for dag_id in ("ingest_stocks", "ingest_crypto", "market_stream", "repair_gaps"):
        assert dags[dag_id].timetable.delta == timedelta(seconds=60)
    assert not dags["migrate_schema"].timetable.can_be_scheduled


def test_the_stream_can_be_steered_by_a_form_and_its_pages_are_a_button(dags: dict[str, Any]) -> None:
    dag = dags["market_stream"]
    assert dag.params["action"] == "keep", "a scheduled run keeps things as they are wanted"
    task = dag.get_task("ensure_stream")
    assert [link.name for link in task.operator_extra_links] == ["Spark UI"]
    # The watch must be over when the next run comes.
    assert dag.max_active_runs == 1
    assert timedelta(seconds=WATCH_SECONDS) < dag.timetable.delta


def test_the_listener_knows_the_stream_by_its_names(dags: dict[str, Any]) -> None:
    assert dags[manual_stop.DAG_ID].has_task(manual_stop.TASK_ID)


def test_the_plugin_brings_the_button_and_the_listener() -> None:
    found: dict[str, Any] = runpy.run_path(str(PROJECT_ROOT / "plugins" / "market_stream.py"))
    plugin = found["MarketStreamPlugin"]
    assert [type(link).__name__ for link in plugin.operator_extra_links] == ["SparkUiLink"]
    assert [type(listener).__name__ for listener in plugin.listeners] == ["ManualStop"]
