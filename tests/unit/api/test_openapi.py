"""Every operation holds what the OpenAPI document declares, whatever it is asked."""

from __future__ import annotations

from functools import cache
from typing import Any
from urllib.parse import quote

import pytest
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from tests.unit.api.test_requests import FIELDS, PATHS
from tests.unit.api.whole import client_of

_NASTY = st.one_of(
    st.text(max_size=40),
    st.sampled_from(
        [
            *("", " ", "\0", "null", "NaN", "-inf", "1e400", "-1", "0", "9" * 400, "%00", "../..", "' OR 1=1 --"),
            *("<script>", "{{7*7}}", "\u202e", "\U0001f4a5", "AAPL\n", "aapl", "BTC-USD", "AAPL", "1m", "price"),
            *("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00", "9999-12-31T23:59:59.999999Z", "10000-01-01"),
            *("0000-01-01", "2026-02-30", "2026-03-02T24:00:00Z", "-62135596800", "253402300799", "1e11", "now"),
            *("2026-03-02T14:30:00Z", "2026-03-02", "WyIyMDI2LTAzLTAyVDE0OjM3OjAwWiJd"),
        ]
    ),
)
_MOMENTS = st.one_of(
    st.datetimes(timezones=st.one_of(st.none(), st.timezones())).map(lambda moment: moment.isoformat()),
    st.sampled_from(["2026-03-02T14:00:00Z", "2026-03-02T15:00:00+00:00", "2026-03-02"]),
)


@cache
def client() -> TestClient:
    return client_of()


@cache
def document() -> dict[str, Any]:
    found: dict[str, Any] = client().get("/api/openapi.json").json()
    return found


def operations() -> list[str]:
    return list(document()["paths"])


def values(schema: dict[str, Any]) -> st.SearchStrategy[str]:
    """What the schema declares, as it stands in an address."""
    if "anyOf" in schema:
        return st.one_of([values(each) for each in schema["anyOf"] if each.get("type") != "null"])
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if schema["type"] == "integer":
        return st.integers(schema["minimum"], schema["maximum"]).map(str)
    if schema.get("format") == "date-time":
        return _MOMENTS
    if "pattern" in schema:
        return st.from_regex(schema["pattern"])
    return st.sampled_from(["AAPL", "BTC-USD"])


def checked(path: str, parameters: dict[str, str]) -> int:
    """Asks, and holds the answer against the document. The status."""
    operation = document()["paths"][path]["get"]
    places = {each["name"]: each["in"] for each in operation["parameters"]} if "parameters" in operation else {}
    query = {name: value for name, value in parameters.items() if places.get(name) != "path"}
    address = path
    for name in places:
        if places[name] == "path":
            address = address.replace(f"{{{name}}}", quote(parameters[name], safe=""))
    answer = client().get(address, params=query)
    kind = answer.headers["content-type"]
    assert answer.status_code < 500
    # A value with a slash in it names another address, and an empty one may.
    if answer.status_code == 404 or f"{answer.status_code}" in operation["responses"]:
        pass
    elif "/" not in "".join(parameters.values()):
        raise AssertionError(f"{answer.status_code} is not declared: {answer.text[:200]}")
    if answer.status_code != 200:
        assert kind == "application/problem+json"
        assert set(answer.json()) == FIELDS
        assert answer.json()["status"] == answer.status_code
        assert answer.json()["detail"]
        return answer.status_code
    declared = operation["responses"]["200"]["content"]
    assert kind.split(";")[0] in declared
    if kind == "application/json":
        schema = {**declared[kind]["schema"], "components": document()["components"]}
        Draft202012Validator(schema).validate(answer.json())
    return answer.status_code


@pytest.mark.parametrize("path", operations())
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(data=st.data())
def test_what_is_declared_is_what_is_answered(path: str, data: st.DataObject) -> None:
    parameters: dict[str, str] = {}
    for each in document()["paths"][path]["get"].get("parameters", []):
        if each["required"] or data.draw(st.booleans(), label=f"with {each['name']}"):
            declared = values(each["schema"])
            parameters[each["name"]] = data.draw(st.one_of(declared, declared, _NASTY), label=each["name"])
    if data.draw(st.integers(0, 9)) == 0:
        parameters[data.draw(st.text(min_size=1, max_size=10), label="an unknown name")] = "1"
    checked(path, parameters)


@pytest.mark.parametrize("path", PATHS.values(), ids=PATHS)
def test_the_usual_question_of_each_operation_holds(path: str) -> None:
    name = next(each for each in operations() if each.split("/")[3] == path.partition("?")[0].split("/")[3])
    usual = {"symbol": "AAPL"} if "{symbol}" in name else {}
    if "{window_start}" in name:
        usual["window_start"] = "2026-03-02T14:30:00Z"
    if path.startswith("/api/v1/events"):
        usual |= {"start": "2026-03-02T13:30:00Z", "end": "2026-03-02T15:00:00Z"}
    assert checked(name, usual) == 200


def test_the_check_can_fail() -> None:
    schema = {"$ref": "#/components/schemas/Candles", "components": document()["components"]}
    body = client().get(PATHS["candles"]).json()
    assert Draft202012Validator(schema).is_valid(body)
    body["candles"][0]["open"] = 101.5
    assert not Draft202012Validator(schema).is_valid(body)


def test_every_error_is_declared_as_a_problem() -> None:
    for methods in document()["paths"].values():
        for code, response in methods["get"]["responses"].items():
            if code not in ("200", "503"):
                assert response["content"] == {
                    "application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}
                }
