"""The trades of one minute: a pure function of its bar, so that every answer and every frame sees the same ones.

Their first price is the bar's open, their extremes are its high and low, their last is its close, and
their volumes add up to its volume, to the last unit.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache
from itertools import accumulate, pairwise
from random import Random
from typing import NamedTuple

TRADES_PER_MINUTE = 20
#: The four prices of a bar need a trade each.
FEWEST_TRADES = 4
#: Milliseconds into the minute of its last trade; the first is at zero.
LAST_TRADE_MS = 55_000


class BarUnits(NamedTuple):
    """A bar in whole units of its columns; `start` in epoch seconds."""

    start: int
    open: int
    high: int
    low: int
    close: int
    volume: int


class MinuteTrade(NamedTuple):
    """`offset_ms` from the minute's start; price and volume in the bar's units."""

    offset_ms: int
    price: int
    volume: int


@lru_cache(maxsize=8192)
def minute_trades(bar: BarUnits, count: int) -> tuple[MinuteTrade, ...]:
    """`count` trades (at least FEWEST_TRADES), oldest first, no two at one moment.

    Only whole-number draws from the generator's guaranteed `random()` are used, so a bar has the same
    trades on every platform.
    """
    random = Random("|".join(map(str, (*bar, count))))
    rows = zip(_offsets(count, random), _prices(bar, count, random), _volumes(bar.volume, count, random), strict=True)
    return tuple(MinuteTrade(*row) for row in rows)


def traded_by(bar: BarUnits, elapsed_ms: int, count: int) -> tuple[MinuteTrade, ...]:
    """The minute's trades up to `elapsed_ms` (0 or more: the first trade is at zero)."""
    return tuple(trade for trade in minute_trades(bar, count) if trade.offset_ms <= elapsed_ms)


def running_bar(bar: BarUnits, elapsed_ms: int, count: int) -> BarUnits:
    """The bar as its trades up to now make it."""
    trades = traded_by(bar, elapsed_ms, count)
    prices = [trade.price for trade in trades]
    volume = sum(trade.volume for trade in trades)
    return BarUnits(bar.start, prices[0], max(prices), min(prices), prices[-1], volume)


def _offsets(count: int, random: Random) -> Iterator[int]:
    """One in each of `count` equal stretches, the ends fixed."""
    width = LAST_TRADE_MS / (count - 1)
    yield 0
    for place in range(1, count - 1):
        yield int((place + (random.random() - 0.5) * 0.8) * width)
    yield LAST_TRADE_MS


def _prices(bar: BarUnits, count: int, random: Random) -> Iterator[int]:
    """A path through open, the one extreme, the other and close, on the coarsest grid that has all four."""
    spread = bar.high - bar.low
    step = math.gcd(spread, bar.open - bar.low, bar.close - bar.low) or 1
    middle = count // 2
    first = 1 + int(random.random() * (middle - 1))
    second = middle + int(random.random() * (count - 1 - middle))
    # A minute that closes higher has its low first.
    turns = (bar.low, bar.high) if bar.close >= bar.open else (bar.high, bar.low)
    knots = [(0, bar.open), (first, turns[0]), (second, turns[1]), (count - 1, bar.close)]
    for (start, before), (end, after) in pairwise(knots):
        yield before
        for place in range(start + 1, end):
            straight = before + (after - before) * (place - start) / (end - start)
            strayed = straight + (random.random() - 0.5) * spread / 4
            yield min(bar.high, max(bar.low, bar.low + round((strayed - bar.low) / step) * step))
    yield bar.close


def _volumes(total: int, count: int, random: Random) -> Iterator[int]:
    """Whole units that sum to `total`, at least one a trade where there are enough."""
    least = 1 if total >= count else 0
    shares = list(accumulate(0.25 + random.random() for _ in range(count)))
    upto = [int(share / shares[-1] * (total - least * count)) for share in shares[:-1]] + [total - least * count]
    for before, after in pairwise([0, *upto]):
        yield after - before + least
