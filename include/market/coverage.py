"""Which minutes of a symbol are made of trades, and which of bars: contract §8 counts both, so never both. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from include.market.event import MICROSECONDS

MINUTE_US = 60 * MICROSECONDS
#: So far beyond what it has claimed a trade stream may have published when it dies. Bars keep out of these
#: minutes, and a stream that comes back fills them by trade id, whenever that is.
RESERVED_US = 5 * MINUTE_US


@dataclass(frozen=True, slots=True)
class Coverage:
    """The whole minutes [covered_from, covered_through) of a symbol have all their trades. Times in UTC epoch
    microseconds; `last_trade_id` is the newest that was taken, None once the coverage has ended."""

    symbol: str
    covered_from: int
    covered_through: int
    last_trade_id: int | None

    @property
    def is_open(self) -> bool:
        return self.last_trade_id is not None

    @property
    def reserved_through(self) -> int:
        """The end of the minutes that are the trades' even if the stream is dead."""
        return self.covered_through + (RESERVED_US if self.is_open else 0)


def minute_of(time_us: int) -> int:
    """The start of the minute."""
    return time_us // MINUTE_US * MINUTE_US


def first_free(coverages: Iterable[Coverage], start_us: int, is_streaming: bool) -> int | None:
    """The first minute from `start_us` on that needs a bar; None: from there on all are the trades'.

    `coverages` are one symbol's; `is_streaming` says whether the stream's lease is alive.
    """
    free_us = start_us
    for coverage in sorted(coverages, key=lambda held: held.covered_from):
        if free_us < coverage.covered_from:
            break
        if coverage.is_open and is_streaming:
            return None
        free_us = max(free_us, coverage.reserved_through)
    return free_us
