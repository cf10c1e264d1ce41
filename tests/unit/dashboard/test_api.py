"""The API's answers over in-memory stores: shapes, exact figures, honest errors."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from fastapi.testclient import TestClient

from include.api.app import create_api
from tests.unit.dashboard.twins import INSTRUMENTS, MemoryPrices, MemoryReader, cached, candle


@pytest.fixture
def reader() -> MemoryReader:
    held = [candle(minute, open=Decimal("101.50000000")) for minute in range(10)]
    return MemoryReader([*held, candle(0, interval="5m"), candle(5, interval="5m")])


@pytest.fixture
def prices() -> MemoryPrices:
    return MemoryPrices({"AAPL": cached("0.00000010")})


@pytest.fixture
def client(reader: MemoryReader, prices: MemoryPrices) -> Iterator[TestClient]:
    with TestClient(create_api("sandbox", INSTRUMENTS, reader, prices)) as client:
        yield client


def test_health_is_200_while_both_stores_answer(client: TestClient) -> None:
    answer = client.get("/api/v1/health")
    assert answer.status_code == 200
    assert answer.json() == {
        "status": "ok",
        "market": "sandbox",
        "database": "ok",
        "redis": "ok",
        "last_candle_at": "2026-03-02T14:39:00Z",
    }


@pytest.mark.parametrize(("down", "field"), [("reader", "database"), ("prices", "redis")])
def test_health_is_503_and_names_the_store_that_is_down(
    client: TestClient, request: pytest.FixtureRequest, down: str, field: str
) -> None:
    request.getfixturevalue(down).up = False
    answer = client.get("/api/v1/health")
    assert answer.status_code == 503
    assert answer.json()[field] == "down"
    assert [answer.json()[each] for each in ("database", "redis")].count("ok") == 1


def test_candles_are_oldest_first_with_exact_figures_as_strings(client: TestClient) -> None:
    body = client.get("/api/v1/candles/AAPL", params={"limit": 3}).json()
    assert (body["market"], body["symbol"], body["interval"]) == ("sandbox", "AAPL", "1m")
    assert [each["window_start"] for each in body["candles"]] == [
        "2026-03-02T14:37:00Z",
        "2026-03-02T14:38:00Z",
        "2026-03-02T14:39:00Z",
    ]
    assert body["candles"][0]["open"] == "101.5"
    assert body["candles"][0]["volume"] == "1200"


def test_start_is_included_and_end_is_not(client: TestClient) -> None:
    bounds = {"start": "2026-03-02T14:31:00Z", "end": "2026-03-02T14:33:00"}
    found = client.get("/api/v1/candles/AAPL", params=bounds).json()["candles"]
    assert [each["window_start"][14:16] for each in found] == ["31", "32"]


def test_coarser_candles_are_served(client: TestClient) -> None:
    (window,) = client.get("/api/v1/candles/AAPL", params={"interval": "1h"}).json()["candles"]
    assert (window["window_start"], window["volume"], window["is_final"]) == (
        "2026-03-02T14:00:00Z",
        "2400",
        False,
    )


def test_prices_have_no_exponent_and_leave_out_what_has_none(client: TestClient) -> None:
    (price,) = client.get("/api/v1/prices").json()["prices"]
    assert (price["symbol"], price["price"], price["change_pct"]) == ("AAPL", "0.0000001", 1.25)
    assert price["as_of"] == "2026-03-02T14:30:00Z"


def test_instruments_are_those_of_the_settings(client: TestClient) -> None:
    listed = client.get("/api/v1/instruments").json()["instruments"]
    assert listed[1] == {
        "symbol": "BTC-USD",
        "asset_class": "crypto",
        "name": "Bitcoin",
        "sources": ["binance"],
    }


@pytest.mark.parametrize(
    ("address", "code", "says"),
    [
        ("/api/v1/candles/NOPE", 404, "NOPE is not collected here"),
        ("/api/v1/candles/AAPL?interval=2m", 422, "interval"),
        ("/api/v1/candles/AAPL?limit=0", 422, "limit"),
        ("/api/v1/candles/AAPL?start=yesterday", 422, "start"),
        ("/api/v1/candles/AAPL?start=2026-03-03&end=2026-03-02", 422, "start: must be before end"),
        ("/api/v1/candles/AAPL?format=xml", 422, "format"),
        ("/api/v1/nothing", 404, "/api/docs"),
    ],
)
def test_errors_are_problem_json_that_say_what_is_wrong(client: TestClient, address: str, code: int, says: str) -> None:
    answer = client.get(address)
    assert answer.status_code == code
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["status"] == code
    assert says in answer.json()["detail"]


def test_an_outage_is_503_without_our_insides(client: TestClient, reader: MemoryReader) -> None:
    reader.up = False
    answer = client.get("/api/v1/candles/AAPL")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert "refused" not in answer.text


def test_the_documentation_names_every_path_and_loads_nothing(client: TestClient) -> None:
    document: dict[str, Any] = client.get("/api/openapi.json").json()
    page = client.get("/api/docs").text
    for path in document["paths"]:
        assert path in page
    assert set(document["paths"]) == {
        f"/api/v1/{name}" for name in ("health", "instruments", "prices", "candles/{symbol}")
    }
    assert "<script" not in page
    assert "://" not in page
