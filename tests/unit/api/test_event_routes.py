"""The route of raw events over an in-memory reader: exact figures, sane ranges, honest errors."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from include.api import problems
from include.api.app import create_api
from include.api.event_routes import create_event_router
from include.storage.event_reads import merged
from tests.unit.api.event_twins import EVENT, NOW, MemoryEvents
from tests.unit.dashboard.twins import INSTRUMENTS, MemoryPrices, MemoryReader


@pytest.fixture
def reader() -> MemoryEvents:
    return MemoryEvents()


@pytest.fixture
def client(reader: MemoryEvents) -> Iterator[TestClient]:
    app = FastAPI()
    problems.install(app)
    app.include_router(create_event_router("sandbox", INSTRUMENTS, reader, lambda: NOW))
    with TestClient(app) as client:
        yield client


def test_an_event_has_exact_figures_as_strings_and_times_in_utc(client: TestClient) -> None:
    body = client.get("/api/v1/events/AAPL", params={"start": "2026-03-02T13:30:00+00:00", "limit": 1}).json()
    assert body.pop("next").startswith("/api/v1/events/AAPL?limit=1&start=2026-03-02T13%3A30%3A00Z&end=2026-03-02T15")
    assert body == {
        "market": "sandbox",
        "symbol": "AAPL",
        "start": "2026-03-02T13:30:00Z",
        "end": "2026-03-02T15:00:00Z",
        "is_complete": False,
        "events": [
            {
                "event_id": "yahoo:AAPL:bar60:0",
                "source": "yahoo",
                "kind": "bar",
                "event_time": "2026-03-02T13:30:00Z",
                "interval_seconds": 60,
                "open": "101.5",
                "high": "0.0000001",
                "low": "101",
                "close": "101.5",
                "volume": None,
                "currency": "USD",
                "ingested_at": "2026-03-02T13:31:00Z",
                "kafka_partition": 1,
                "kafka_offset": 7,
                "revision": 0,
            }
        ],
    }


@pytest.mark.parametrize(
    ("bounds", "first", "last", "count"),
    [
        ({}, "14:00", "14:59", 60),
        ({"end": "2026-03-02T14:00:00"}, "13:30", "13:59", 30),
        ({"start": "2026-03-02T14:30:00"}, "14:30", "14:59", 30),
        ({"start": "2026-03-02T09:31:00-05:00", "end": "2026-03-02T09:33:00-05:00"}, "14:31", "14:32", 2),
        ({"start": "2026-03-01T16:00:00Z", "end": "2026-03-02T16:00:00Z"}, "13:30", "15:29", 120),
    ],
)
def test_the_range_is_the_last_hour_unless_it_says(
    client: TestClient, bounds: dict[str, str], first: str, last: str, count: int
) -> None:
    body = client.get("/api/v1/events/AAPL", params=bounds).json()
    times = [event["event_time"][11:16] for event in body["events"]]
    assert (times[0], times[-1], len(times)) == (first, last, count)
    assert body["is_complete"]


def test_what_was_known_at_a_moment_can_be_asked_for(client: TestClient, reader: MemoryEvents) -> None:
    reader.held[70] = replace(reader.held[70], ingested_at=NOW)
    bounds = {"start": "2026-03-02T13:30:00", "end": "2026-03-02T15:30:00"}
    assert len(client.get("/api/v1/events/AAPL", params=bounds).json()["events"]) == 120
    then = client.get("/api/v1/events/AAPL", params={**bounds, "as_of": "2026-03-02T15:59:00+01:00"}).json()
    assert len(then["events"]) == 119
    wrong = client.get("/api/v1/events/AAPL", params={"as_of": "yesterday"})
    assert wrong.status_code == 422


def test_one_can_go_on_where_the_limit_cut(client: TestClient, reader: MemoryEvents) -> None:
    # Pages end within one moment too.
    reader.held = [replace(row, event_time=reader.held[n // 10 * 10].event_time) for n, row in enumerate(reader.held)]
    seen: list[str] = []
    page: str | None = "/api/v1/events/AAPL?start=2026-03-02T13:30:00Z&limit=4"
    while page:
        body = client.get(page).json()
        seen += [event["event_id"] for event in body["events"]]
        page = body["next"]
        assert body["is_complete"] is (page is None)
    assert seen == [row.event_id for row in reader.held[:90]]


def test_an_event_that_comes_late_to_the_moment_where_a_page_ended_shows_nothing_twice(
    client: TestClient, reader: MemoryEvents
) -> None:
    reader.held = [replace(row, event_time=EVENT.event_time) for row in reader.held[:7]]
    body = client.get("/api/v1/events/AAPL?start=2026-03-02T13:30:00Z&limit=3").json()
    reader.held.insert(0, replace(EVENT, event_id="a late one"))
    seen: list[str] = []
    while body["next"]:
        body = client.get(body["next"]).json()
        seen += [event["event_id"][-2:] for event in body["events"]]
    assert seen == [":3", ":4", ":5", ":6"]


def test_the_next_page_keeps_the_hour_that_the_first_was_of(reader: MemoryEvents) -> None:
    times = iter([NOW, NOW + timedelta(minutes=20)])
    app = FastAPI()
    problems.install(app)
    app.include_router(create_event_router("sandbox", INSTRUMENTS, reader, lambda: next(times)))
    with TestClient(app) as client:
        first = client.get("/api/v1/events/AAPL?limit=10").json()
        second = client.get(first["next"]).json()
    assert (second["start"], second["end"]) == (first["start"], first["end"])
    assert second["events"][0]["event_time"] == "2026-03-02T14:10:00Z"


@pytest.mark.parametrize(
    ("address", "code", "says"),
    [
        ("NOPE", 404, "NOPE is not collected here"),
        ("AAPL?start=2026-03-02T14:00:00&end=2026-03-02T14:00:00", 422, "start: must be before end"),
        ("AAPL?start=2026-03-02T15:00:01", 422, "not in the future"),
        ("AAPL?start=2026-03-01T14:00:00&end=2026-03-02T14:00:01", 422, "end: at most one day after start"),
        ("AAPL?start=0001-01-01T00:00:00%2B05:00", 422, "beyond the calendar"),
        ("AAPL?end=0001-01-01T00:00:00", 422, "beyond the calendar"),
        ("AAPL?start=yesterday", 422, "start"),
        ("AAPL?limit=0", 422, "limit"),
        ("AAPL?limit=10001", 422, "limit"),
        ("AAPL?cursor=WyIyMDI2LTAzLTAyVDE0OjM3OjAwWiJd", 422, "cursor"),
        ("AAPL?cursor=WyIwMDAxLTAxLTAxVDAwOjAwOjAwWiIsIngiLDFd", 422, "cursor: of another range"),
    ],
)
def test_errors_are_problem_json_that_say_what_is_wrong(client: TestClient, address: str, code: int, says: str) -> None:
    answer = client.get(f"/api/v1/events/{address}")
    assert answer.status_code == code
    assert answer.headers["content-type"] == "application/problem+json"
    assert says in answer.json()["detail"]


def test_an_outage_is_503(client: TestClient, reader: MemoryEvents) -> None:
    reader.up = False
    answer = client.get("/api/v1/events/AAPL")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")


def test_the_application_serves_and_documents_it(reader: MemoryEvents) -> None:
    with TestClient(create_api("sandbox", INSTRUMENTS, MemoryReader(), MemoryPrices(), reader)) as client:
        bounds = {"start": "2026-03-02T13:30:00Z", "end": "2026-03-02T13:33:00Z"}
        assert len(client.get("/api/v1/events/AAPL", params=bounds).json()["events"]) == 3
        assert client.get("/api/v1/candles/AAPL").status_code == 200
        assert "/api/v1/events/{symbol}" in client.get("/api/docs").text


def test_of_an_event_the_newest_revision_counts_and_of_equal_ones_the_first() -> None:
    cold, again = EVENT, replace(EVENT, source="binance")
    later = replace(EVENT, revision=1, close=Decimal(102))
    before = replace(EVENT, event_id="a", event_time=EVENT.event_time - timedelta(seconds=1))
    assert merged([cold, again, before], 10) == [before, cold]
    assert merged([later, cold], 10) == merged([cold, later], 10) == [later]
    assert merged([cold, before], 1) == [before]
