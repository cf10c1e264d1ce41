"""The web server put together: what the pages are lent, and what they get along without."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from include.dashboard.operations_page import BY_COMMAND
from include.settings import Settings
from include.web.__main__ import create_application

# Nothing listens on port 1: every store refuses at once.
NOWHERE = {
    "market": "sandbox",
    "database_url": "postgresql://reader:secret@127.0.0.1:1/financial_data",
    "redis_url": "redis://127.0.0.1:1",
    "kafka_bootstrap_servers": "127.0.0.1:1",
    "airflow_url": "http://127.0.0.1:1",
    "airflow_username": "admin",
    "airflow_password": "hidden-word",
}


def client(tmp_path: Path, **changes: Any) -> TestClient:
    settings = Settings.model_validate({**NOWHERE, "pipeline_home": tmp_path, **changes})
    return TestClient(create_application(settings), base_url="http://127.0.0.1:8050")


def callback(browser: TestClient, outputs: list[tuple[str, str]], inputs: list[dict[str, Any]]) -> dict[str, Any]:
    """What a browser asks when these inputs change."""
    several = len(outputs) > 1
    names = [f"{id_}.{name}" for id_, name in outputs]
    asked = {
        "output": f"..{'...'.join(names)}.." if several else names[0],
        "outputs": [{"id": id_, "property": name} for id_, name in outputs]
        if several
        else {"id": outputs[0][0], "property": outputs[0][1]},
        "inputs": inputs,
        "changedPropIds": [f"{each['id']}.{each['property']}" for each in inputs],
    }
    answer = browser.post("/_dash-update-component", json=asked)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def page(browser: TestClient) -> str:
    outputs = [("page", "children"), ("page-clock", "children"), ("pages", "children")]
    return json.dumps(callback(browser, outputs, [{"id": "url", "property": "pathname", "value": "/operations"}]))


def test_with_the_writers_role_and_kafka_there_is_a_button(tmp_path: Path) -> None:
    with client(tmp_path) as browser:
        assert browser.get("/operations").status_code == 200
        shown = page(browser)
    assert "letters-confirm" in shown
    assert '"aria-current": "page"' in shown
    assert BY_COMMAND not in shown


@pytest.mark.parametrize(
    "changes",
    [
        {"kafka_bootstrap_servers": None},
        {"database_url": None, "reader_database_url": "postgresql://r:secret@127.0.0.1:1/x"},
    ],
)
def test_without_one_of_them_the_page_says_what_to_do(tmp_path: Path, changes: dict[str, Any]) -> None:
    with client(tmp_path, **changes) as browser:
        shown = page(browser)
    assert "letters-confirm" not in shown
    assert BY_COMMAND in shown


def test_each_panel_says_what_is_away_and_no_secret(tmp_path: Path) -> None:
    beat = [{"id": "refresh", "property": "n_intervals", "value": 1}]
    with client(tmp_path) as browser:
        runs = json.dumps(callback(browser, [("dag-runs", "children")], beat))
        gaps = json.dumps(callback(browser, [("data-gaps", "children")], beat))
    assert "Airflow does not answer" in runs
    assert "The database does not answer" in gaps
    assert not [word for word in ("hidden-word", "secret", "Traceback") if word in runs + gaps]
