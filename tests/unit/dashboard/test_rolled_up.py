"""Coarser candles are made of the stored ones without losing a digit."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

from include.market.candle import Candle
from include.market.timeframe import rolled_up
from include.storage.market_reads import latest_prices
from tests.unit.dashboard.twins import START, MemoryPrices, MemoryReader, cached, candle


def five(minute: int, **changes: Any) -> Candle:
    return candle(minute, interval="5m", **changes)


def test_a_quarter_of_an_hour_is_first_open_last_close_extremes_and_exact_volume() -> None:
    parts = [
        five(0, open=Decimal("10"), volume=Decimal("0.1"), vwap=Decimal("10")),
        five(5, high=Decimal("130"), volume=Decimal("0.2"), vwap=Decimal("40")),
        five(10, low=Decimal("7"), close="99", volume=None, vwap=None, source="alpha_vantage"),
    ]
    (window,) = rolled_up(parts, "15m")
    assert (window.open, window.high, window.low, window.close) == (10, 130, 7, 99)
    assert window.volume == Decimal("0.3")
    assert window.vwap == 30
    assert (window.event_count, window.source, window.window_start) == (3, "alpha_vantage", START)
    assert window.interval == "15m"


def test_no_volume_anywhere_stays_unknown() -> None:
    (window,) = rolled_up([five(0, volume=None, vwap=None)], "15m")
    assert window.volume is None
    assert window.vwap is None


def test_a_window_is_final_only_when_nothing_of_it_can_come() -> None:
    begun = rolled_up([five(0), five(5)], "15m")
    ended = rolled_up([five(0), five(5), five(10)], "15m")
    with_gap = rolled_up([five(0), five(15), five(20), five(25, is_final=False)], "15m")
    assert [window.is_final for window in begun] == [False]
    assert [window.is_final for window in ended] == [True]
    assert [window.is_final for window in with_gap] == [True, False]


def test_hours_are_aligned_to_utc() -> None:
    windows = rolled_up([five(minute) for minute in range(0, 65, 5)], "1h")
    assert [window.window_start.minute for window in windows] == [0, 0]


def test_prices_come_from_redis_and_otherwise_from_the_newest_candle() -> None:
    reader = MemoryReader([candle(0), candle(1, close="103"), candle(1, close="65000", symbol="BTC-USD")])
    prices = latest_prices(["AAPL", "BTC-USD", "IBM"], MemoryPrices({"AAPL": cached("104.25")}), reader)
    assert {symbol: str(price.price) for symbol, price in prices.items()} == {
        "AAPL": "104.25",
        "BTC-USD": "65000",
    }
    assert prices["BTC-USD"].as_of == START + timedelta(minutes=2)


def test_prices_survive_either_store() -> None:
    reader, cache = MemoryReader([candle(0)]), MemoryPrices({"AAPL": cached("104.25")})
    reader.up = False
    assert latest_prices(["AAPL", "IBM"], cache, reader)["AAPL"].price == Decimal("104.25")
    reader.up, cache.up = True, False
    assert latest_prices(["AAPL", "IBM"], cache, reader)["AAPL"].price == Decimal("101.5")


def test_a_running_minute_is_as_old_as_its_last_update() -> None:
    running = candle(0, is_final=False, updated_at=START + timedelta(seconds=20))
    price = latest_prices(["AAPL"], MemoryPrices(), MemoryReader([running]))["AAPL"]
    assert price.as_of == START + timedelta(seconds=20)
