"""Blocks of bars as columns of exact integers: fast to cut and to add up, no digit lost."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from include.sandbox.minute_trades import TRADES_PER_MINUTE, BarUnits, running_bar

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

MINUTE = 60
DAY = 86_400


class MinuteBar(NamedTuple):
    """One bar. `start` in UTC epoch seconds, volume in shares or base currency."""

    start: int
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal


@dataclass(frozen=True, slots=True)
class Bars:
    """Bars of one symbol, oldest first, in columns of equal length.

    `start` is in UTC epoch seconds. Prices are integers in units of 10^-price_decimals, volume in
    units of 10^-volume_decimals.
    """

    start: Ints
    open: Ints
    high: Ints
    low: Ints
    close: Ints
    volume: Ints
    price_decimals: int
    volume_decimals: int

    def __len__(self) -> int:
        return len(self.start)

    def __iter__(self) -> Iterator[MinuteBar]:
        columns = (self.start, self.open, self.high, self.low, self.close, self.volume)
        for start, *figures in zip(*(column.tolist() for column in columns), strict=True):
            first, high, low, last = (self.price(figure) for figure in figures[:4])
            yield MinuteBar(start, first, high, low, last, scaled(figures[4], self.volume_decimals))

    def price(self, units: int) -> Decimal:
        return scaled(units, self.price_decimals)

    def cut(self, rows: slice) -> Bars:
        return self._with([column[rows] for column in self._columns()])

    def between(self, start: int, end: int) -> Bars:
        """The bars that start in [start, end)."""
        first, last = np.searchsorted(self.start, (start, end))
        return self.cut(slice(int(first), int(max(first, last))))

    def shifted(self, seconds: int) -> Bars:
        return replace(self, start=self.start + seconds)

    def floats(self, column: Ints) -> list[float]:
        """Prices as the doubles nearest to the decimals: both operands are exact, so is the rounding."""
        return (column / float(10**self.price_decimals)).tolist()  # type: ignore[no-any-return]

    def resampled(self, seconds: int) -> Bars:
        """One bar for each stretch of `seconds` on the epoch's grid that has a bar in it."""
        if not len(self):
            return self
        windows = self.start - self.start % seconds
        firsts = np.flatnonzero(np.diff(windows, prepend=windows[0] - 1))
        lasts = np.append(firsts[1:], len(windows)) - 1
        return self._with(
            [
                windows[firsts],
                self.open[firsts],
                np.maximum.reduceat(self.high, firsts),
                np.minimum.reduceat(self.low, firsts),
                self.close[lasts],
                np.add.reduceat(self.volume, firsts),
            ]
        )

    def known_at(self, now: float, trades_per_minute: int = TRADES_PER_MINUTE) -> Bars:
        """What has been traded by `now`: no later minute, and the running one only so far."""
        known = self.cut(slice(int(np.searchsorted(self.start, now, side="right"))))
        if not len(known) or now >= known.start[-1] + MINUTE:
            return known
        last = known.units(-1)
        running = running_bar(last, milliseconds(now) - last.start * 1000, trades_per_minute)
        return known._with(
            [_last_replaced(column, value) for column, value in zip(known._columns(), running, strict=True)]
        )

    def units(self, row: int) -> BarUnits:
        """One bar in the units of the columns."""
        return BarUnits(*(int(column[row]) for column in self._columns()))

    def _columns(self) -> list[Ints]:
        return [self.start, self.open, self.high, self.low, self.close, self.volume]

    def _with(self, columns: Sequence[Ints]) -> Bars:
        start, first, high, low, last, volume = columns
        return Bars(start, first, high, low, last, volume, self.price_decimals, self.volume_decimals)


def joined(blocks: Sequence[Bars]) -> Bars:
    """Blocks of one symbol, one after the other; at least one block."""
    if len(blocks) == 1:
        return blocks[0]
    columns = zip(*(block._columns() for block in blocks), strict=True)
    return blocks[0]._with([np.concatenate(column) for column in columns])


def empty(price_decimals: int, volume_decimals: int) -> Bars:
    none = np.empty(0, dtype=np.int64)
    return Bars(none, none, none, none, none, none, price_decimals, volume_decimals)


def milliseconds(now: float) -> int:
    """Epoch seconds of a clock in whole milliseconds, as trades have them."""
    return int(now * 1000)


def scaled(units: int, decimals: int) -> Decimal:
    return Decimal(units).scaleb(-decimals)


def _last_replaced(column: Ints, value: int) -> Ints:
    changed = column.copy()
    changed[-1] = value
    return changed
