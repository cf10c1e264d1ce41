from __future__ import annotations

import hashlib
from itertools import pairwise

import numpy as np
import pytest
from bokeh_sampledata import stocks
from hypothesis import given
from hypothesis import strategies as st

from include.sandbox.bars import DAY, MINUTE, Bars
from include.sandbox.daily import COINS, REAL_STOCKS
from include.sandbox.paths import Day, generator, minutes_of, opening_hours_profile
from include.sandbox.simulated import ANCHOR, SimulatedMarket
from include.sources.catalogue import catalogue
from tests.unit.sandbox.conftest import NOW, SEED

PROFILE = opening_hours_profile(390)
SYMBOLS = (*REAL_STOCKS, "SPY", "F", "BRK-B", "BTC-USD", "DOGE-USD", "XLM-USD")


def day_of(market: SimulatedMarket, symbol: str, index: int) -> Bars:
    seconds = market.day_minutes(symbol) * MINUTE
    return market.minutes(symbol, ANCHOR + index * seconds, ANCHOR + (index + 1) * seconds)


def assert_adds_up(day: Day, bars: Bars) -> None:
    assert bars.open[0] == day.open
    assert bars.close[-1] == day.close
    assert bars.high.max() == day.high
    assert bars.low.min() == day.low
    assert bars.volume.sum() == day.volume


@pytest.mark.parametrize("symbol", SYMBOLS)
def test_the_minutes_of_a_day_add_up_to_its_daily_bar(simulated: SimulatedMarket, symbol: str) -> None:
    for index in (*range(-5, 40), 1000, 2014, 2015, 5000):
        bars = day_of(simulated, symbol, index)
        assert len(bars) == (390 if symbol not in COINS else 1440)
        assert_adds_up(simulated.series(symbol).day(index), bars)
        assert (bars.low <= np.minimum(bars.open, bars.close)).all()
        assert (np.maximum(bars.open, bars.close) <= bars.high).all()
        assert (bars.low > 0).all()
        assert (bars.volume > 0).all()


@given(
    prices=st.lists(st.integers(1, 10**9), min_size=4, max_size=4).map(sorted),
    low_open=st.booleans(),
    volume=st.integers(0, 10**12),
    seed=st.integers(0, 2**63),
    tick=st.sampled_from([1, 100]),
)
def test_any_day_is_met_exactly(prices: list[int], low_open: bool, volume: int, seed: int, tick: int) -> None:
    low, first, last, high = prices
    if not low_open:
        first, last = last, first
    day = Day(first, high, low, last, volume)
    columns = minutes_of(day, PROFILE, tick, generator(seed))
    assert (columns.open[0], columns.close[-1]) == (first, last)
    assert (columns.low.min(), columns.high.max()) == (low, high)
    assert columns.volume.sum() == volume
    assert columns.volume.min() >= 0
    assert (columns.low <= np.minimum(columns.open, columns.close)).all()
    assert (np.maximum(columns.open, columns.close) <= columns.high).all()


@pytest.mark.parametrize(("symbol", "name"), REAL_STOCKS.items())
def test_the_daily_bars_are_the_real_ones(simulated: SimulatedMarket, symbol: str, name: str) -> None:
    real = getattr(stocks, name)
    last = simulated.series(symbol).days[-1]
    assert real["date"][-1] == "2013-03-01"
    for key in ("open", "high", "low", "close"):
        assert getattr(last, key) / 10_000 == real[key][-1]
    assert last.volume == real["volume"][-1]


def test_ticks_are_cents_but_for_the_days_own_figures(simulated: SimulatedMarket) -> None:
    for index in range(20):
        bars, day = day_of(simulated, "IBM", index), simulated.series("IBM").day(index)
        for column in (bars.open, bars.high, bars.low, bars.close):
            finer = column[column % 100 != 0].tolist()
            assert set(finer) <= {day.open, day.high, day.low, day.close}


def test_volume_is_high_at_the_open_and_the_close(simulated: SimulatedMarket) -> None:
    volume = np.array([day_of(simulated, "MSFT", index).volume for index in range(30)]).mean(axis=0)
    noon = volume[180:240].mean()
    assert volume[:15].mean() > 2 * noon
    assert volume[-15:].mean() > 1.5 * noon


def digest(market: SimulatedMarket) -> str:
    """Over every column of some days of stocks and coins, real and seeded."""
    hashed = hashlib.sha256()
    for symbol in ("AAPL", "SPY", "BTC-USD", "ADA-USD"):
        for bar in market.minutes(symbol, NOW - 2 * DAY, NOW):
            hashed.update(repr(bar).encode())
    return hashed.hexdigest()[:16]


def test_a_seed_is_the_same_market_in_every_process(simulated: SimulatedMarket) -> None:
    # Recorded once: another value means that stored histories and new ones no longer agree.
    assert digest(simulated) == "b75a54cf35f8d257"


def test_another_seed_is_another_market_with_the_same_real_days(simulated: SimulatedMarket) -> None:
    other = SimulatedMarket(catalogue(), SEED + 1)
    assert digest(other) != digest(simulated)
    assert other.series("AAPL") == simulated.series("AAPL")
    assert other.series("SPY") != simulated.series("SPY")


@pytest.mark.parametrize("symbol", ["AAPL", "ETH-USD"])
def test_any_part_of_a_range_is_the_same_as_in_the_whole(simulated: SimulatedMarket, symbol: str) -> None:
    whole = list(simulated.minutes(symbol, NOW - 3 * DAY, NOW))
    assert [bar.start for bar in whole] == list(range(NOW - NOW % 60 - 3 * DAY + 60, NOW, 60))
    part = list(simulated.minutes(symbol, NOW - DAY, NOW - DAY // 2))
    assert part == [bar for bar in whole if NOW - DAY <= bar.start < NOW - DAY // 2]
    assert len(simulated.minutes(symbol, NOW, NOW)) == 0


def test_the_running_minute_grows_into_the_closed_one(simulated: SimulatedMarket) -> None:
    minute = NOW - NOW % MINUTE
    for symbol in ("AAPL", "BTC-USD"):
        bars = simulated.minutes(symbol, minute - 120, minute + 120)
        seen = [list(bars.known_at(minute + second)) for second in range(61)]
        closed = list(bars)[2]
        assert all(rows[:2] == list(bars)[:2] for rows in seen)
        running = [rows[2] for rows in seen[:60]]
        assert running[0][1:5] == (closed.open,) * 4
        assert running[59] == closed
        for before, after in pairwise(running):
            assert before.open == after.open == closed.open
            assert before.high <= after.high
            assert before.low >= after.low
            assert before.volume <= after.volume
        # A minute later that minute is closed, and the next one has begun.
        assert [row.start for row in seen[60]] == [minute - 120, minute - 60, minute, minute + 60]


def test_coins_go_round_without_a_jump(simulated: SimulatedMarket) -> None:
    for symbol in COINS:
        days = simulated.series(symbol).days
        assert all(before.close == after.open for before, after in zip(days, (*days[1:], days[0]), strict=True))
        level = COINS[symbol][0] * 10 ** simulated.series(symbol).price_decimals
        assert 0.1 * level < min(day.low for day in days) < max(day.high for day in days) < 10 * level
