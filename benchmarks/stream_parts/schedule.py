"""An open-loop schedule, and what a reader saw of it. Pure: no clock.

Event i is due at start + i/rate, whatever became of those before it; its event time is that moment. So a reader that
sees an event time knows which events are there, and the wait of each counts from when it was due: what the generator,
the broker or the stream held up is in it (no coordinated omission).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from include.errors import MarketDataError

SECOND_US = 1_000_000
Int64 = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Schedule:
    """`count` events, `rate` a second, in turn over `symbols` symbols."""

    start_us: int
    rate: int
    count: int
    symbols: int

    def due_us(self, number: int) -> int:
        """When event `number` is to be sent, and its event time."""
        return self.start_us + number * SECOND_US // self.rate

    def of_symbol(self, symbol: int) -> Int64:
        """The due times of one symbol's events."""
        return self.start_us + np.arange(symbol, self.count, self.symbols, dtype=np.int64) * SECOND_US // self.rate


def waits_us(due_us: Int64, seen: Sequence[tuple[int, int]]) -> tuple[Int64, int]:
    """How long each event waited until the reader saw it (or a newer one), and how many were never seen.

    `seen`: (when, newest event time then), in order of time; each tells of all events up to that event time.
    """
    when, newest = np.array(seen or np.empty((0, 2)), dtype=np.int64).reshape(-1, 2).T
    places = np.searchsorted(np.maximum.accumulate(newest), due_us, side="left")
    is_seen = places < len(when)
    return when[places[is_seen]] - due_us[is_seen], int((~is_seen).sum())


def summary_ms(waits: Int64) -> dict[str, float]:
    """count, p50, p90, p99, p99.9 and max, in milliseconds. Raises MarketDataError without events."""
    if len(waits) == 0:
        raise MarketDataError("no event was seen")
    levels = {"p50": 50, "p90": 90, "p99": 99, "p99.9": 99.9, "max": 100}
    found = {name: round(float(np.percentile(waits, level)) / 1_000, 1) for name, level in levels.items()}
    return {"count": len(waits), **found}


def curve_ms(waits: Int64, points: int = 200) -> list[tuple[float, float]]:
    """(percentile, milliseconds) pairs for a picture, denser towards the slowest."""
    levels = 100 * (1 - np.logspace(0, -4, points))
    return [(round(float(level), 4), round(float(np.percentile(waits, level)) / 1_000, 2)) for level in levels]
