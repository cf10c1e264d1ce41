"""The route of the checks over an in-memory reader: the newest run, a chosen one, honest errors."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from fastapi.testclient import TestClient

from include.api.app import create_api
from tests.unit.dashboard.quality_twins import CHECK, RUN, UNDER_WAY, MemoryQuality
from tests.unit.dashboard.twins import INSTRUMENTS, MemoryPrices, MemoryReader


@pytest.fixture
def reader() -> MemoryQuality:
    return MemoryQuality(RUN, UNDER_WAY)


@pytest.fixture
def client(reader: MemoryQuality) -> Iterator[TestClient]:
    with TestClient(create_api("sandbox", INSTRUMENTS, MemoryReader(), MemoryPrices(), quality=reader)) as client:
        yield client


def test_the_newest_finished_run_with_its_checks_and_symbols(client: TestClient) -> None:
    body = client.get("/api/v1/quality").json()
    assert body["market"] == "sandbox"
    assert body["run"] == {
        "run_id": "scheduled-2026-03-02",
        "dag_run_id": "scheduled__2026-03-02T14:00:00+00:00",
        "started_at": "2026-03-02T14:00:00Z",
        "finished_at": "2026-03-02T14:00:09Z",
        "covered_from": "2026-03-02T13:00:00Z",
        "covered_until": "2026-03-02T14:00:00Z",
        "suites": ["candles", "symbol_freshness"],
        "symbols": None,
        "passed": 8,
        "failed_critical": 1,
        "failed_warning": 1,
        "pass_rate": 0.8,
        "summary": "8 of 10 checks passed",
    }
    assert [each["check_name"] for each in body["results"]] == ["candles_keys_unique", "candles_columns"]
    assert body["results"][0]["failing_keys"] == CHECK.failing_keys
    (apple,) = body["symbols"]
    assert apple["symbol"] == "AAPL"
    assert (apple["freshness"]["passed"], apple["freshness"]["measured"]) == (True, 41.0)
    assert (apple["completeness"]["passed"], apple["completeness"]["severity"]) == (False, "warning")


def test_a_run_can_be_chosen_also_one_under_way(client: TestClient) -> None:
    assert client.get("/api/v1/quality", params={"run": RUN.run_id}).json()["run"]["run_id"] == RUN.run_id
    body = client.get("/api/v1/quality", params={"run": "next"}).json()
    assert (body["run"]["finished_at"], body["run"]["pass_rate"], body["results"]) == (None, None, [])


def test_the_limit_counts_checks_and_keeps_the_failing(client: TestClient, reader: MemoryQuality) -> None:
    body = client.get("/api/v1/quality", params={"limit": 1}).json()
    assert [each["passed"] for each in body["results"]] == [False]
    assert len(body["symbols"]) == 1
    reader.found = [replace(each, symbol="BTC-USD") if each.symbol else each for each in reader.found]
    assert client.get("/api/v1/quality", params={"symbol": "AAPL"}).json()["symbols"] == []
    assert [each["symbol"] for each in client.get("/api/v1/quality?symbol=BTC-USD").json()["symbols"]] == ["BTC-USD"]


def test_where_nothing_was_checked_the_answer_is_empty(client: TestClient, reader: MemoryQuality) -> None:
    reader.runs = []
    assert client.get("/api/v1/quality").json() == {"market": "sandbox", "run": None, "results": [], "symbols": []}


@pytest.mark.parametrize(
    ("parameters", "code", "names"),
    [
        ({"run": "nope"}, 404, "there is no run nope"),
        ({"symbol": "NOPE"}, 404, "NOPE is not collected here"),
        ({"run": "a\0b"}, 422, "run"),
        ({"limit": 0}, 422, "limit"),
    ],
)
def test_what_cannot_be_answered_says_why(
    client: TestClient, parameters: dict[str, str | int], code: int, names: str
) -> None:
    answer = client.get("/api/v1/quality", params=parameters)
    assert answer.status_code == code
    assert names in answer.json()["detail"]


def test_an_outage_is_503(client: TestClient, reader: MemoryQuality) -> None:
    reader.up = False
    answer = client.get("/api/v1/quality")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
