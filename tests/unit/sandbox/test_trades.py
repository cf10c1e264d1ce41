"""The trades of a minute are its bar, to the last digit, wherever they are seen."""

from __future__ import annotations

import json
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.testclient import TestClient

from include.sandbox.bars import DAY, MINUTE
from include.sandbox.market import Market, Sandbox
from include.sandbox.minute_trades import LAST_TRADE_MS, BarUnits, minute_trades, running_bar
from include.sandbox.simulated import SimulatedMarket
from include.sandbox.tape import between, from_id, id_range, newest
from include.sources.catalogue import catalogue
from tests.unit.sandbox.conftest import NOW, client, replay, write_recording
from tests.unit.sandbox.test_recorded import two_days

RUNNING = NOW - NOW % MINUTE


def sandbox_of(market: Market, now: float = NOW) -> Sandbox:
    return Sandbox(market, catalogue(), lambda: now)


@given(
    prices=st.lists(st.integers(1, 10**12), min_size=4, max_size=4).map(sorted),
    falling=st.booleans(),
    volume=st.integers(0, 10**15),
    count=st.integers(4, 60),
)
def test_any_minute_is_the_sum_of_its_trades(prices: list[int], falling: bool, volume: int, count: int) -> None:
    low, first, last, high = prices
    if falling:
        first, last = last, first
    bar = BarUnits(RUNNING, first, high, low, last, volume)
    trades = minute_trades(bar, count)
    assert len(trades) == count
    assert running_bar(bar, LAST_TRADE_MS, count) == bar
    assert running_bar(bar, 0, count)[1:5] == (first,) * 4
    assert all(before.offset_ms < after.offset_ms for before, after in pairwise(trades))
    assert all(trade.volume >= (1 if volume >= count else 0) for trade in trades)


@pytest.mark.parametrize("symbol", ["BTC-USD", "DOGE-USD", "XLM-USD", "AAPL", "BRK-B"])
def test_trades_add_up_to_the_klines_of_several_days(simulated: SimulatedMarket, symbol: str) -> None:
    assert_adds_up(simulated, symbol, [RUNNING - DAY * days - 3 * 3600 for days in (1, 3, 40)])


def test_trades_add_up_to_recorded_minutes(tmp_path: Path, shared_data: Path) -> None:
    folder = shared_data / "bars_1m" / "crypto"
    market = replay(tmp_path, folder, NOW)
    for symbol in market.symbols("crypto"):
        assert_adds_up(market, symbol, [RUNNING - DAY * days for days in (1, 2, 30)])


def assert_adds_up(market: Market, symbol: str, starts: list[int]) -> None:
    """Two hours from each start: every minute, and ids without a gap."""
    sandbox = sandbox_of(market)
    seen = 0
    for start in starts:
        end = start + 7200
        trades = between(sandbox, symbol, start * 1000 - 1, end * 1000 - 1)
        first, count = id_range(sandbox, symbol, start, end, NOW)
        assert [trade.id for trade in trades] == list(range(first, first + count))
        by_minute: dict[int, list[Any]] = {}
        for trade in trades:
            by_minute.setdefault(trade.time_ms // 60_000 * 60, []).append(trade)
        bars = list(market.minutes(symbol, start, end))
        assert list(by_minute) == [bar.start for bar in bars]
        for bar in bars:
            prices = [trade.price for trade in by_minute[bar.start]]
            volume = sum(trade.quantity for trade in by_minute[bar.start])
            assert (prices[0], max(prices), min(prices), prices[-1], volume) == tuple(bar)[1:]
        seen += len(bars)
    assert seen > 100


def looped(tmp_path: Path) -> Market:
    """Four of the hour's minutes are traded; the hour goes round."""
    stamps = ["2018-04-04T15:00:00Z", "2018-04-04T15:20:00Z", "2018-04-04T15:29:00Z", "2018-04-04T15:59:00Z"]
    rows = [("BTC-USD", s, "10.1", "10.9", "9.7", "10.3", "7.14319709") for s in stamps]
    write_recording(tmp_path / "bars", "btc", rows)
    return replay(tmp_path, tmp_path / "bars", NOW)


def test_minutes_are_counted_over_gaps_days_and_laps(tmp_path: Path) -> None:
    for market, symbol in (
        (looped(tmp_path), "BTC-USD"),
        (replay(tmp_path / "2", two_days(tmp_path / "2d"), NOW), "IBM"),
    ):
        for second in (RUNNING, *range(RUNNING - 1800, RUNNING - 600, 97), RUNNING - 40 * DAY, RUNNING + DAY):
            ordinal = market.ordinal(symbol, second)
            assert ordinal > 0
            start = market.minute_at(symbol, ordinal)
            assert start >= second
            assert market.ordinal(symbol, start) == ordinal
            assert market.ordinal(symbol, start + 1) == ordinal + 1
            assert len(market.minutes(symbol, start, start + 1)) == 1
            assert len(market.minutes(symbol, second, start)) == 0


def test_ids_go_on_over_missing_minutes_and_laps(tmp_path: Path) -> None:
    market = looped(tmp_path)
    sandbox = sandbox_of(market)
    found = newest(sandbox, "BTC-USD", 300, NOW)
    assert [trade.id for trade in found] == list(range(found[0].id, found[0].id + 300))
    assert all(before.time_ms < after.time_ms for before, after in pairwise(found))
    # The last minute before now is 15:29, and the clock shows 15:30.
    assert found[-1].time_ms == (RUNNING - 60) * 1000 + LAST_TRADE_MS
    assert from_id(sandbox, "BTC-USD", found[0].id, 300, NOW) == found


def test_ids_do_not_depend_on_when_they_are_asked_for(tmp_path: Path) -> None:
    market = looped(tmp_path)
    then = newest(sandbox_of(market), "BTC-USD", 5, NOW)
    later = NOW + 9 * DAY
    assert from_id(sandbox_of(market, later), "BTC-USD", then[0].id, 5, later) == then


def rest(server: TestClient, path: str, **params: Any) -> Any:
    answer = server.get(f"/binance/api/v3/{path}", params={"symbol": "BTCUSDT", **params})
    assert answer.status_code == 200, answer.text
    return answer.json()


@pytest.mark.parametrize("second", [0, 0.02, 7, 31.5, 54.9, 55, 59.9])
def test_the_running_candle_is_its_trades_so_far(simulated: SimulatedMarket, second: float) -> None:
    server = client(simulated, RUNNING + second)
    (candle,) = rest(server, "klines", interval="1m", limit=1)
    trades = rest(server, "aggTrades", startTime=RUNNING * 1000, endTime=RUNNING * 1000 + 59_999)
    prices = [Decimal(trade["p"]) for trade in trades]
    volume = sum(Decimal(trade["q"]) for trade in trades)
    assert candle[0] == RUNNING * 1000
    assert list(map(Decimal, candle[1:6])) == [prices[0], max(prices), min(prices), prices[-1], volume]
    assert candle[8] == len(trades)
    price = rest(server, "ticker/price")["price"]
    assert price == trades[-1]["p"] == candle[4]
    day = rest(server, "ticker/24hr")
    assert day["lastId"] == trades[-1]["a"]
    assert day["count"] == day["lastId"] - day["firstId"] + 1


def test_a_hole_is_filled_by_id(simulated: SimulatedMarket, shared_data: Path) -> None:
    server = client(simulated)
    recorded = json.loads((shared_data / "responses" / "binance" / "trades_ETHBTC_1000.json").read_text())[0]
    recent = rest(server, "trades", limit=1000)
    assert {key: type(value) for key, value in recent[0].items()} == {k: type(v) for k, v in recorded.items()}
    assert len(recent) == 1000
    assert recent[-1]["time"] <= NOW * 1000
    assert rest(server, "historicalTrades", fromId=recent[400]["id"], limit=7) == recent[400:407]
    assert rest(server, "historicalTrades", fromId=recent[-1]["id"] + 1) == []
    assert len(rest(server, "historicalTrades", limit=3)) == 3
    aggregated = rest(server, "aggTrades", fromId=recent[-3]["id"])
    assert [(row["a"], row["p"], row["T"]) for row in aggregated] == [
        (row["id"], row["price"], row["time"]) for row in recent[-3:]
    ]


def test_trades_cost_their_weight_and_refuse_what_klines_refuse(simulated: SimulatedMarket) -> None:
    server = client(simulated)
    costs = []
    for path in ("trades", "historicalTrades", "aggTrades"):
        answer = server.get(f"/binance/api/v3/{path}", params={"symbol": "BTCUSDT", "limit": 1})
        costs.append(int(answer.headers["x-mbx-used-weight-1m"]))
        assert server.get(f"/binance/api/v3/{path}", params={"symbol": "NOPE"}).json()["code"] == -1121
    assert costs == [25, 51, 56]
    both = server.get("/binance/api/v3/aggTrades", params={"symbol": "BTCUSDT", "fromId": 1, "startTime": 1})
    assert both.json()["code"] == -1128


def test_a_minute_has_the_same_trades_in_every_process() -> None:
    bar = BarUnits(RUNNING, 1000, 1100, 900, 1050, 12_345)
    # Recorded once: another value means that trades already stored no longer agree with their ids.
    assert [tuple(trade) for trade in minute_trades(bar, 5)] == [
        (0, 1000, 2513),
        (15023, 900, 3118),
        (32992, 1000, 2307),
        (44571, 1100, 3176),
        (55000, 1050, 1231),
    ]
