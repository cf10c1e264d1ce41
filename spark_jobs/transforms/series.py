"""Values of many (symbol, interval) laid end to end, and their trailing statistics. Pure.

A statistic is the sum of whole columns shifted by one, two, three candles. So every candle's figure comes from
its own values in one fixed order, and has the same bits whether a thousand candles stand before it or just
enough. Running sums would drift, and numpy's own reductions may add in another order for another length.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from include.market.candle import KEY

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


#: Values that are worked on at a time: what passes over them again and again finds them in the processor's cache,
#: however long the history is.
_BLOCK = 16_384


@dataclass(frozen=True, slots=True)
class Moments:
    """Of each place's trailing values: how many, their mean, and the sum of squares about it (NaN if none)."""

    count: IntArray
    mean: FloatArray
    squares: FloatArray

    def deviation(self, ddof: int) -> FloatArray:
        """Standard deviation; exactly 0 for equal values, NaN where there are not more than `ddof`."""
        freedom = np.where(self.count > ddof, self.count - ddof, np.nan)
        return np.sqrt(self.squares / freedom)


@dataclass(frozen=True, slots=True)
class Series:
    """`values` (float64, NaN for null), oldest first in each run; `before`: how many of the same run precede."""

    values: FloatArray
    before: IntArray

    def present(self) -> tuple[Series, IntArray]:
        """The series without its nulls, and the place that each of its values had."""
        places = np.flatnonzero(~np.isnan(self.values))
        run = np.cumsum(self.before == 0)[places]
        return Series(self.values[places], preceding(run)), places

    def moments(self, size: int, *, lag: int = 0) -> Moments:
        """Of the last `size` values, or those there are, up to each one: itself (lag 0) or the one before (lag 1).

        The values must have no nulls.
        """
        starts = range(0, max(1, len(self.values)), _BLOCK)
        blocks = [self._block(start, size, lag) for start in starts]
        return Moments(*(np.concatenate(parts) for parts in zip(*blocks, strict=True)))

    def _block(self, start: int, size: int, lag: int) -> tuple[IntArray, FloatArray, FloatArray]:
        """The moments of _BLOCK places; those before are looked at as far as they count."""
        first = max(0, start - size - lag)
        seen = slice(first, start + _BLOCK)
        found = Series(self.values[seen], self.before[seen])._whole_moments(size, lag)
        own = slice(start - first, None)
        return found.count[own], found.mean[own], found.squares[own]

    def _whole_moments(self, size: int, lag: int) -> Moments:
        reach = range(lag, min(lag + size, len(self.values)))
        # Measured from the newest of them, equal values have the mean that they are and a deviation of exactly 0.
        pivot = self._earlier(lag)
        count = np.clip(self.before + 1 - lag, 0, size)
        some = np.where(count > 0, count, np.nan)
        total = np.zeros_like(self.values)
        for back in reach:
            total[back:] += self._deviations(back, pivot[back:])
        offset = total / some
        squares = np.zeros_like(self.values)
        for back in reach:
            apart = self._deviations(back, pivot[back:], offset[back:])
            squares[back:] += apart * apart
        return Moments(count, pivot + offset, np.where(count > 0, squares, np.nan))

    def carried(self, figures: FloatArray, places: IntArray) -> FloatArray:
        """Figures known at some places, for every place: the latest of the same run so far, NaN before the first."""
        latest = np.searchsorted(places, np.arange(len(self.values)), side="right") - 1
        run_start = np.arange(len(self.values)) - self.before
        # One in front, for places that have no figure before them.
        found = np.concatenate(([np.nan], figures))[latest + 1]
        return np.where(np.concatenate(([-1], places))[latest + 1] >= run_start, found, np.nan)

    def _earlier(self, lag: int) -> FloatArray:
        return np.concatenate((np.full(min(lag, len(self.values)), np.nan), self.values[: len(self.values) - lag]))

    def _deviations(self, back: int, pivot: FloatArray, offset: FloatArray | float = 0.0) -> FloatArray:
        """From the value `back` places earlier; 0 where that belongs to another run."""
        apart = self.values[: len(self.values) - back] - pivot
        apart -= offset
        return np.where(self.before[back:] >= back, apart, 0.0)


def preceding(run: IntArray) -> IntArray:
    """How many values of the same run stand before each; `run` names each value's run, equal ones side by side."""
    place = np.arange(len(run))
    starts = np.concatenate(([True], run[1:] != run[:-1]))[: len(run)]
    return place - np.maximum.accumulate(np.where(starts, place, 0))


def in_order(candles: pa.Table) -> tuple[pa.Table, IntArray]:
    """The candles by (symbol, interval, window_start), and `before` of their runs. Keys must not repeat."""
    symbol, interval = (_ranks(candles[name]) for name in KEY[:2])
    order = np.lexsort((microseconds(candles[KEY[2]]), interval, symbol))
    run = symbol[order] * (1 + interval.max(initial=0)) + interval[order]
    return candles.take(order), preceding(run)


def microseconds(times: pa.ChunkedArray) -> IntArray:
    """Timestamps as microseconds since 1970."""
    whole: IntArray = times.cast(pa.timestamp("us", "UTC")).cast(pa.int64()).to_numpy()
    return whole


def doubles(figures: pa.ChunkedArray) -> FloatArray:
    """Decimals or doubles as the nearest float64; NaN for null."""
    if pa.types.is_decimal(figures.type):
        # Through the text: Arrow's own cast misses the nearest double in one case of ten.
        figures = figures.cast(pa.string())
    values: FloatArray = figures.cast(pa.float64()).to_numpy()
    return values


def _ranks(names: pa.ChunkedArray) -> IntArray:
    """Each name's place among the different names, in their order."""
    encoded = names.combine_chunks().dictionary_encode()
    rank = np.argsort(pc.sort_indices(encoded.dictionary).to_numpy())
    ranks: IntArray = rank[np.asarray(encoded.indices)]
    return ranks
