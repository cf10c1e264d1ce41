"""What a candle is, for all rooms: its intervals, key and columns (contract §4 and §8)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Literal, get_args

Interval = Literal["1m", "5m"]
INTERVALS: tuple[Interval, ...] = get_args(Interval)
INTERVAL_SECONDS: dict[Interval, int] = {"1m": 60, "5m": 300}
#: Every shorter window lies wholly inside one window of this length.
LONGEST_SECONDS = max(INTERVAL_SECONDS.values())

KEY = ("symbol", "interval", "window_start")
FIGURES = ("open", "high", "low", "close", "volume", "vwap", "event_count", "source")
#: A summary of some events of a window, from which candles come: see spark_jobs/transforms/candles.py.
PARTIAL_KEY = (*KEY, "is_quote")
PARTIAL_FIGURES = (
    "first_time", "first_offset", "first_partition", "first_id", "open",
    "last_time", "last_offset", "last_partition", "last_id", "close", "source",
    "high", "low", "volume", "volumes", "weighted", "weights", "event_count",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Candle:
    """One row of `candles`. Prices in the quote currency, volume in shares or base currency."""

    symbol: str
    interval: Interval
    window_start: datetime
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal | None
    vwap: Decimal | None
    event_count: int
    source: str
    is_final: bool
    updated_at: datetime
