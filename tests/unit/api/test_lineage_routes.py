"""The route of a candle's lineage over an in-memory reader: all of it by name, exact figures, honest errors."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient

from include.api.app import create_api
from tests.unit.dashboard.lineage_twins import MemoryLineage
from tests.unit.dashboard.twins import INSTRUMENTS, START, MemoryPrices, MemoryReader

PATH = "/api/v1/lineage/AAPL/2026-03-02T14:30:00Z"


@pytest.fixture
def reader() -> MemoryLineage:
    return MemoryLineage()


@pytest.fixture
def client(reader: MemoryLineage) -> Iterator[TestClient]:
    with TestClient(create_api("sandbox", INSTRUMENTS, MemoryReader(), MemoryPrices(), lineage=reader)) as client:
        yield client


def test_all_that_made_the_candle_is_told(client: TestClient) -> None:
    body = client.get(PATH).json()
    assert (body["market"], body["symbol"], body["interval"]) == ("sandbox", "AAPL", "1m")
    assert (body["candle"]["window_start"], body["window_end"]) == ("2026-03-02T14:30:00Z", "2026-03-02T14:31:00Z")
    assert body["events"][0] == {
        "event_id": "yahoo:AAPL:bar60:0",
        "source": "yahoo",
        "kind": "bar",
        "event_time": "2026-03-02T14:30:00Z",
        "interval_seconds": 60,
        "revision": 0,
        "open": "101",
        "high": "102.25",
        "low": "100.5",
        "close": "101.5",
        "volume": "1200",
        "ingested_at": "2026-03-02T14:31:02Z",
        "kafka_topic": "market.stock.events.v1",
        "kafka_partition": 1,
        "kafka_offset": 40,
        "checkpoint_id": "0b5e7f1e-checkpoint",
        "batch_id": 7,
        "verdict": "superseded",
        "why": "revision 1 counts",
    }
    revision = body["events"][1]
    assert [revision[name] for name in ("kafka_topic", "kafka_offset", "batch_id", "why")] == [None] * 4
    assert (revision["verdict"], revision["close"]) == ("used", "101.75")
    (batch,) = body["batches"]
    assert batch["offsets"] == {"market.stock.events.v1": {"1": [38, 42]}}
    assert (batch["epoch"], batch["code_version"]) == (3, "0.1.0+gabc.def")
    assert body["backfills"][0]["finished_at"] == "2026-03-03T14:30:00Z"
    (run,) = body["quality_runs"]
    assert (body["quality_runs_total"], run["passed"], run["code_version"]) == (8, 99, None)
    assert run["findings"][0]["keys"] == [{"symbol": "AAPL"}]
    assert (body["is_complete"], body["differs"], len(body["notes"])) == (True, [], 1)


@pytest.mark.parametrize(
    "said", ["2026-03-02T14:30:59.9Z", "2026-03-02T14:30:10", "2026-03-02T09:30:00-05:00", "2026-03-02 14:30"]
)
def test_any_time_of_the_window_names_it(client: TestClient, reader: MemoryLineage, said: str) -> None:
    assert client.get(f"/api/v1/lineage/AAPL/{said}").status_code == 200
    assert reader.asked == [("AAPL", START, "1m")]


@pytest.mark.parametrize(
    ("path", "code", "names"),
    [
        ("NOPE/2026-03-02T14:30:00Z", 404, "NOPE is not collected here"),
        ("AAPL/2026-03-02T14:31:00Z", 404, "there is no 1m candle of AAPL at 2026-03-02 14:31 UTC"),
        ("AAPL/2026-03-02T14:30:00Z?interval=5m", 404, "there is no 5m candle"),
        ("AAPL/2026-03-02T14:30:00Z?interval=1h", 422, "interval"),
        ("AAPL/yesterday", 422, "window_start"),
        ("AAPL/9999-12-31T23:59:59Z", 422, "beyond the calendar"),
        ("AAPL/0001-01-01T00:00:00%2B10:00", 422, "beyond the calendar"),
    ],
)
def test_what_cannot_be_answered_says_why(client: TestClient, path: str, code: int, names: str) -> None:
    answer = client.get(f"/api/v1/lineage/{path}")
    assert (answer.status_code, answer.headers["content-type"]) == (code, "application/problem+json")
    assert names in answer.json()["detail"]


def test_an_outage_is_503(client: TestClient, reader: MemoryLineage) -> None:
    reader.up = False
    answer = client.get(PATH)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")


def test_it_is_documented(client: TestClient) -> None:
    route = client.get("/api/openapi.json").json()["paths"]["/api/v1/lineage/{symbol}/{window_start}"]["get"]
    assert {"200", "404", "422", "503"} <= set(route["responses"])
    assert "lineage/{symbol}" in client.get("/api/docs").text
