"""The sandbox counts what it is asked, and holds its callers to the real limits."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.testclient import TestClient

from include.sandbox.calls import Call, CallBook, Limit, Meter
from include.sandbox.simulated import SimulatedMarket
from tests.unit.sandbox.conftest import NOW, client
from tests.unit.sandbox.test_faults import CHART, KLINES, QUOTES, TICKERS, clocked, start

DAY_TICKERS = "/binance/api/v3/ticker/24hr"


def told(server: TestClient, **narrowed: Any) -> Any:
    answer = server.get("/sandbox/calls", params=narrowed)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_a_call_is_logged_with_what_it_asked_and_cost(simulated: SimulatedMarket) -> None:
    server = client(simulated)
    for path in (KLINES, QUOTES, "/binance/api/v3/ticker/price?symbols=" + '["ETHUSDT","BTCUSDT"]'):
        server.get(path)
    found = told(server)
    klines, quotes, prices = found["calls"]
    assert klines == {
        "at": NOW,
        "time": "2026-11-23T10:00:20Z",
        "source": "binance",
        "path": "/api/v3/klines",
        "query": "symbol=BTCUSDT&interval=1m&limit=120",
        "symbols": ["BTC-USD"],
        "cost": 2,
        "status": 200,
        "fault": None,
    }
    assert (quotes["symbols"], quotes["query"]) == (["AAPL", "MSFT"], "symbols=AAPL,MSFT")
    assert (prices["symbols"], prices["cost"]) == (["ETH-USD", "BTC-USD"], 4)
    nothing = {"calls": 0, "cost": 0, "calls_while_banned": 0, "calls_over_limit": 0}
    assert found["totals"]["binance"] == nothing | {"calls": 2, "cost": 6}
    assert found["totals"]["yahoo"] == nothing | {"calls": 1, "cost": 1}


def test_keys_are_not_logged(simulated: SimulatedMarket) -> None:
    server = client(simulated)
    server.get("/binance/api/v3/ping?apikey=tell-nobody")
    assert "tell-nobody" not in server.get("/sandbox/calls").text


def test_the_log_is_narrowed(simulated: SimulatedMarket) -> None:
    server, clock = clocked(simulated)
    server.get(TICKERS)
    server.get(CHART)
    clock.now += 60
    server.get(TICKERS)
    assert [call["source"] for call in told(server)["calls"]] == ["binance", "yahoo", "binance"]
    assert len(told(server, source="binance")["calls"]) == 2
    assert set(told(server, source="binance")["totals"]) == {"binance"}
    for since in (str(NOW + 1), "2026-11-23T10:00:21Z"):
        assert [call["at"] for call in told(server, since=since)["calls"]] == [NOW + 60]
    for wrong in ({"source": "nyse"}, {"since": "noon"}):
        assert server.get("/sandbox/calls", params=wrong).status_code == 422


def test_a_fault_is_named_in_the_log(simulated: SimulatedMarket) -> None:
    server = client(simulated)
    start(server, "binance", "503")
    server.get(TICKERS)
    (call,) = told(server)["calls"]
    assert (call["status"], call["fault"]) == (503, "503")


def test_who_calls_on_while_banned_is_counted(simulated: SimulatedMarket) -> None:
    server, clock = clocked(simulated)
    start(server, "binance", "418", seconds=120)
    statuses = []
    for moved in (0, 1, 60, 58.5, 1):
        clock.now += moved
        statuses.append(server.get(TICKERS).status_code)
    assert statuses == [418, 418, 418, 418, 200]
    # The first call could not know.
    assert told(server)["totals"]["binance"]["calls_while_banned"] == 3


def test_weight_is_limited_and_who_goes_on_is_banned(simulated: SimulatedMarket) -> None:
    server, clock = clocked(simulated)
    # 75 calls of 80 are 6000.
    allowed = [server.get(DAY_TICKERS) for _ in range(75)]
    assert {answer.status_code for answer in allowed} == {200}
    assert allowed[-1].headers["x-mbx-used-weight-1m"] == "6000"
    assert told(server)["totals"]["binance"]["calls_over_limit"] == 0
    clock.now += 20
    refused = server.get(TICKERS)
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "40")
    assert [server.get(TICKERS).status_code for _ in range(5)] == [429, 429, 429, 429, 418]
    counts = told(server)["totals"]["binance"]
    assert (counts["calls_over_limit"], counts["calls_while_banned"]) == (6, 0)
    clock.now += 119
    assert server.get(TICKERS).status_code == 418
    clock.now += 2
    assert server.get(TICKERS).status_code == 200


def test_a_meter_forgets_after_its_window() -> None:
    meter = Meter(Limit(5, 60, "429"))
    for second in (0, 10, 20):
        meter.add(2, NOW + second)
    assert [meter.used(NOW + second) for second in (20, 59, 60, 70, 80)] == [6, 6, 4, 2, 0]


@pytest.mark.parametrize(("source", "calls", "refusal"), [("alpha_vantage", 5, "burst"), ("coingecko", 30, "429")])
def test_calls_a_minute_are_limited(source: str, calls: int, refusal: str) -> None:
    book = CallBook()
    book.open(source, "/x")
    for call in range(calls):
        assert book.over(source, NOW + call) is None
        book.add(Call(NOW + call, source, "/x", "", (), 1, 200), "/x")
    over = book.over(source, NOW + calls)
    assert over is not None
    assert (over.limit.refusal, over.frees_at()) == (refusal, NOW + 60)
    assert book.over(source, NOW + 60) is None


def test_calls_a_day_are_limited() -> None:
    book = CallBook()
    book.open("alpha_vantage", "/query")
    for call in range(25):
        assert book.over("alpha_vantage", NOW + call * 60) is None
        book.add(Call(NOW + call * 60, "alpha_vantage", "/query", "", (), 1, 200), "/query")
    over = book.over("alpha_vantage", NOW + 3600)
    assert over is not None
    assert over.limit.refusal == "daily"
    assert book.over("alpha_vantage", NOW + 86_400) is None
