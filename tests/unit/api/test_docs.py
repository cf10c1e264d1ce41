"""docs/API.md and the notebook say what the API does, and their code runs against it."""

from __future__ import annotations

import ast
import json
import re
from typing import Any

import httpx2
import pytest

from include.api import limits, paging
from include.api.event_routes import MAX_EVENTS
from include.settings import PROJECT_ROOT, Settings
from tests.unit.api.whole import MINUTES, client_of, whole_api

TEXT = (PROJECT_ROOT / "docs" / "API.md").read_text()
NOTEBOOK = json.loads((PROJECT_ROOT / "docs" / "notebooks" / "api.ipynb").read_text())
_ROW = re.compile(r"^\| `(/api/v1/[^`]*)` \|[^|]*\|([^|]*)\|$", re.MULTILINE)


def code_cells() -> list[str]:
    return ["".join(cell["source"]) for cell in NOTEBOOK["cells"] if cell["cell_type"] == "code"]


def operations() -> dict[str, list[dict[str, Any]]]:
    """Path to its parameters that stand in the query."""
    return {
        path: [each for each in methods["get"].get("parameters", []) if each["in"] == "query"]
        for path, methods in whole_api().openapi()["paths"].items()
    }


def test_it_names_every_path_and_parameter_and_no_other() -> None:
    told = {path: re.findall(r"`([^`]+)`", parameters) for path, parameters in _ROW.findall(TEXT)}
    assert told == {path: [each["name"] for each in parameters] for path, parameters in operations().items()}


def test_the_values_that_are_told_are_those_that_are_taken() -> None:
    for path, told in _ROW.findall(TEXT):
        taken = {}
        for each in operations()[path]:
            for schema in each["schema"].get("anyOf", [each["schema"]]):
                if "enum" in schema and each["name"] != "format":
                    taken[each["name"]] = ", ".join(schema["enum"])
        assert dict(re.findall(r"`([a-z_]+)` \(([^)]+)\)", told)) == taken


def test_no_path_is_named_that_is_not_there() -> None:
    known = {path.split("/")[3] for path in operations()}
    named = re.findall(r"/api/v1/([a-z]+)", TEXT + json.dumps(NOTEBOOK))
    assert set(named) <= known


def test_the_limits_that_are_told_hold() -> None:
    text = " ".join(TEXT.split())
    assert f"up to {paging.MAX_ROWS:,}; of events 1,000, up to {MAX_EVENTS:,}" in text
    assert f"a path has at most {limits.MAX_PATH} characters, a query {limits.MAX_QUERY:,}" in text.lower()
    assert f"({Settings.model_fields['api_requests_per_minute'].default})" in text


def test_the_python_example_gets_every_row(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    monkeypatch.setattr(httpx2, "Client", lambda **_: client_of())
    monkeypatch.delenv("API_TOKEN", raising=False)
    names: dict[str, Any] = {}
    exec(compile(example, "API.md", "exec"), names)
    assert f"shape: ({MINUTES}, 13)" in capsys.readouterr().out
    paged = names["candles"](client_of(), "AAPL", limit="3")
    assert paged["window_start"].is_sorted()
    assert len(paged) == MINUTES


def test_the_notebook_is_of_format_4_and_carries_no_output() -> None:
    assert (NOTEBOOK["nbformat"], NOTEBOOK["nbformat_minor"]) == (4, 5)
    ids = [cell["id"] for cell in NOTEBOOK["cells"]]
    assert len(ids) == len(set(ids))
    for cell in NOTEBOOK["cells"]:
        assert re.fullmatch(r"[a-zA-Z0-9-_]{1,64}", cell["id"])
        if cell["cell_type"] == "code":
            assert (cell["outputs"], cell["execution_count"]) == ([], None)
            ast.parse("".join(cell["source"]))


def test_the_notebook_draws_what_the_api_has(monkeypatch: pytest.MonkeyPatch) -> None:
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    monkeypatch.setattr(httpx2, "Client", lambda **_: client_of())
    names: dict[str, Any] = {}
    exec(compile("\n".join(code_cells()), "api.ipynb", "exec"), names)
    assert (len(names["candles"]), len(names["marked"])) == (MINUTES, MINUTES)
    assert [each.get_label() for each in names["axes"].collections] == ["high anomaly"]
    assert len(names["table"]("/api/v1/candles/AAPL", limit=3)) == MINUTES
    assert len(names["table"]("/api/v1/candles/AAPL", limit=3, pages=2)) == 6
