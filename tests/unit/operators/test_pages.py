"""Our pages inside Airflow: where its menu and the tabs of its runs lead."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest

from include.operators.pages import dashboard_url
from include.settings import PROJECT_ROOT

PLUGINS = sorted((PROJECT_ROOT / "plugins").glob("*.py"))


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No running stack, and none of its settings."""
    monkeypatch.setenv("PIPELINE_HOME", str(tmp_path))
    monkeypatch.setenv("PIPELINE_PORT_OFFSET", "300")
    monkeypatch.delenv("DASHBOARD_URL", raising=False)


def views(file: Path) -> list[dict[str, Any]]:
    found = runpy.run_path(str(file))
    plugin = next(each for name, each in found.items() if name.endswith("Plugin") and name != "AirflowPlugin")
    return list(plugin.external_views)


def ours() -> list[dict[str, Any]]:
    return views(PROJECT_ROOT / "plugins" / "dashboard_pages.py")


def test_the_pages_are_framed_in_the_menu() -> None:
    menu = {each["url_route"]: each for each in ours() if each["destination"] == "nav"}
    assert {route: each["href"] for route, each in menu.items()} == {
        "market": "http://127.0.0.1:8350/",
        "quality": "http://127.0.0.1:8350/quality",
        "operations": "http://127.0.0.1:8350/operations",
    }
    assert {each["category"] for each in menu.values()} == {"Market data"}


def test_the_tab_of_a_run_says_of_which_dag_and_run() -> None:
    (tab,) = [each for each in ours() if each["destination"] == "dag_run"]
    assert tab["href"] == "http://127.0.0.1:8350/dag-runs/{DAG_ID}/{RUN_ID}"


def test_the_stack_says_where_the_dashboard_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DASHBOARD_URL", "https://market.example")
    assert dashboard_url() == "https://market.example"
    assert ours()[1]["href"] == "https://market.example/quality"


def test_no_two_views_have_one_route() -> None:
    # Airflow drops the second one with no more than a line in its log.
    routes = [each["url_route"] for file in PLUGINS for each in views(file)]
    assert len(routes) == len(set(routes))
