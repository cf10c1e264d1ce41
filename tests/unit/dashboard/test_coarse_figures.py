"""Indicators and anomalies of candles that are rolled up when asked for."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest

from include.dashboard.market_view import CANDLES_SENT, MarketView
from include.dashboard.selection import Selection
from include.market.candle import Candle
from include.market.timeframe import rolled_up
from include.web.figures import figures
from tests.unit.dashboard.twins import INSTRUMENTS, START, MemoryMarks, MemoryPrices, MemoryReader, candle

QUARTERS = Selection("AAPL", "15m")


def fives(count: int) -> list[Candle]:
    """5-minute candles whose closes wander, always the same way."""
    closes = 100 + np.cumsum(np.random.default_rng(7).normal(0, 0.4, count))
    opened = START.replace(minute=0)
    return [
        candle(close=f"{close:.2f}", interval="5m", window_start=opened + timedelta(minutes=5 * place))
        for place, close in enumerate(closes)
    ]


def view(held: list[Candle]) -> MarketView:
    now = held[-1].window_start + timedelta(minutes=5)
    return MarketView(INSTRUMENTS, MemoryReader(held), MemoryPrices(), MemoryMarks(), figures, clock=lambda: now)


def test_the_figures_are_those_of_the_rolled_up_closes() -> None:
    candles = rolled_up(fives(3 * 60), "15m")
    points, _ = figures(candles)
    assert [each.window_start for each in points] == [each.window_start for each in candles]
    closes = pd.Series([float(each.close) for each in candles])
    returns = np.log(closes / closes.shift())
    expected = {
        "sma_20": closes.rolling(20).mean(),
        "ema_26": closes.ewm(span=26, adjust=False).mean(),
        "bollinger_upper": closes.rolling(20).mean() + 2 * closes.rolling(20).std(ddof=0),
        "volatility_20": returns.rolling(20).std(),
    }
    for name, values in expected.items():
        found = [getattr(each, name) for each in points]
        assert [each is None for each in found] == values.isna().to_list(), name
        known = [(one, other) for one, other in zip(found, values, strict=True) if one is not None]
        assert len(known) > 35
        assert [one for one, _ in known] == pytest.approx([other for _, other in known], rel=1e-9), name


def test_no_candle_has_no_figures() -> None:
    assert figures([]) == ([], [])


def test_a_leap_is_an_anomaly_once_its_candle_is_final() -> None:
    candles = rolled_up(fives(3 * 70), "15m")
    leap = replace(candles[-1], close=candles[-2].close * Decimal("1.2"), is_final=True)
    _, [found] = figures([*candles[:-1], leap])
    assert (found.window_start, found.metric, found.severity) == (leap.window_start, "price", "critical")
    assert found.detected_at == leap.updated_at
    assert figures([*candles[:-1], replace(leap, is_final=False)])[1] == []


def test_a_chart_knows_more_than_it_draws() -> None:
    data = view(fives(3 * (CANDLES_SENT + 100))).chart(QUARTERS)
    assert len(data.candles) == CANDLES_SENT
    assert [each.window_start for each in data.marks.indicators] == [each.window_start for each in data.candles]
    # The first candle drawn has twenty before it, though they are not drawn.
    assert data.marks.indicators[0].sma_20 is not None


@pytest.mark.parametrize("is_opened_before", [True, False], ids=["an open chart", "no chart was asked for"])
def test_what_is_pushed_has_the_figures_that_a_new_drawing_would_have(is_opened_before: bool) -> None:
    held = fives(3 * 60)
    reader = MemoryReader(held[:-9])
    now = held[-9].window_start
    seen = MarketView(INSTRUMENTS, reader, MemoryPrices(), MemoryMarks(), figures, clock=lambda: now)
    if is_opened_before:
        seen.chart(QUARTERS)
    for count in (len(held) - 6, len(held) - 2, len(held)):
        reader.held = held[:count]
        now = held[count - 1].window_start + timedelta(minutes=5)
        since = rolled_up(reader.held, "15m")[-2].window_start
        pushed, drawn = seen.chart_end(QUARTERS, since), view(reader.held).chart(QUARTERS)
        assert pushed.candles == drawn.candles[-2:]
        assert pushed.marks.indicators == drawn.marks.indicators[-2:]


def test_after_a_long_silence_what_is_pushed_is_read_anew() -> None:
    held = fives(3 * 60)
    reader = MemoryReader(held[:90])
    now = held[90].window_start
    seen = MarketView(INSTRUMENTS, reader, MemoryPrices(), MemoryMarks(), figures, clock=lambda: now)
    seen.chart(QUARTERS)
    reader.held, now = held, held[-1].window_start + timedelta(minutes=5)
    since = rolled_up(held, "15m")[-2].window_start
    assert seen.chart_end(QUARTERS, since).marks.indicators == view(held).chart(QUARTERS).marks.indicators[-2:]
