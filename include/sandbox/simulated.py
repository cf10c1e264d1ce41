"""MARKET=sandbox: trading days laid end to end round the clock, the same for the same seed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache

import numpy as np

from include.market.event import AssetClass
from include.market.instrument import Catalogue
from include.sandbox.bars import MINUTE, Bars, empty, joined
from include.sandbox.daily import Series, crypto_series, stock_series
from include.sandbox.market import Segment
from include.sandbox.paths import (
    generator,
    minutes_of,
    opening_hours_profile,
    round_the_clock_profile,
)

#: The first simulated stock day starts here. The series goes round every 545 days.
ANCHOR = int(datetime(2026, 6, 1, tzinfo=UTC).timestamp())
STOCK_DAY_MINUTES = 390
CRYPTO_DAY_MINUTES = 1440
#: Two months of forty stocks.
CACHED_DAYS = 8192


class SimulatedMarket:
    """All symbols of the catalogue. A stock day has 390 minutes, a coin's day is the UTC day."""

    name = "sandbox"
    description = "Simulated"
    start = ANCHOR

    def __init__(self, catalogue: Catalogue, seed: int) -> None:
        self._seed = seed
        self._symbols: dict[AssetClass, tuple[str, ...]] = {
            "stock": tuple(entry.symbol for entry in catalogue if entry.asset_class == "stock"),
            "crypto": tuple(entry.symbol for entry in catalogue if entry.asset_class == "crypto"),
        }
        self._class_of = {symbol: class_ for class_, symbols in self._symbols.items() for symbol in symbols}
        self._profiles = {
            "stock": opening_hours_profile(STOCK_DAY_MINUTES),
            "crypto": round_the_clock_profile(CRYPTO_DAY_MINUTES),
        }
        self._series = lru_cache(maxsize=None)(self._build_series)
        self._day = lru_cache(maxsize=CACHED_DAYS)(self._build_day)

    def symbols(self, asset_class: AssetClass) -> tuple[str, ...]:
        return self._symbols[asset_class]

    def minutes(self, symbol: str, start: int, end: int) -> Bars:
        seconds = self.day_minutes(symbol) * MINUTE
        if end <= start:
            series = self._series(symbol)
            return empty(series.price_decimals, series.volume_decimals)
        days = range((start - ANCHOR) // seconds, (end - 1 - ANCHOR) // seconds + 1)
        return joined([self._day(symbol, day) for day in days]).between(start, end)

    def ordinal(self, symbol: str, second: int) -> int:
        # Every minute is traded, so they can be counted from the epoch.
        return -(-second // MINUTE)

    def minute_at(self, symbol: str, ordinal: int) -> int:
        return ordinal * MINUTE

    def timeline(self, start: int, end: int) -> Sequence[Segment]:
        return ()

    def day_minutes(self, symbol: str) -> int:
        return len(self._profiles[self._class_of[symbol]])

    def series(self, symbol: str) -> Series:
        """The daily bars whose day `i` is played from ANCHOR + i days' minutes on."""
        return self._series(symbol)

    def _build_series(self, symbol: str) -> Series:
        build = stock_series if self._class_of[symbol] == "stock" else crypto_series
        return build(symbol, self._seed)

    def _build_day(self, symbol: str, index: int) -> Bars:
        series, profile = self._series(symbol), self._profiles[self._class_of[symbol]]
        random = generator(self._seed, symbol, index)
        columns = minutes_of(series.day(index), profile, series.tick, random)
        first = ANCHOR + index * len(profile) * MINUTE
        starts = first + MINUTE * np.arange(len(profile), dtype=np.int64)
        return Bars(
            starts,
            columns.open,
            columns.high,
            columns.low,
            columns.close,
            columns.volume,
            series.price_decimals,
            series.volume_decimals,
        )
