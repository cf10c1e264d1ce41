"""Indicators as they are stored beside the candles, read only."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from psycopg.rows import class_row
from psycopg.sql import SQL

from include.market.candle import Interval
from include.storage.read_connections import ReadConnections, columns_of


@dataclass(frozen=True, slots=True)
class IndicatorRow:
    """One row of `indicators`: prices in the quote currency, volatility as a fraction; None where not known yet."""

    symbol: str
    interval: Interval
    window_start: datetime
    sma_20: float | None = None
    ema_12: float | None = None
    ema_26: float | None = None
    bollinger_upper: float | None = None
    bollinger_middle: float | None = None
    bollinger_lower: float | None = None
    volatility_20: float | None = None


_NEWEST = SQL(
    "SELECT {} FROM indicators WHERE symbol = %(symbol)s AND interval = %(interval)s"
    " AND (%(before)s::timestamptz IS NULL OR window_start < %(before)s)"
    " AND (%(start)s::timestamptz IS NULL OR window_start >= %(start)s)"
    " ORDER BY window_start DESC LIMIT %(limit)s"
).format(columns_of(IndicatorRow))


class IndicatorReads(Protocol):
    """What the API asks; may raise DatabaseUnavailable."""

    def indicators(
        self,
        symbol: str,
        interval: Interval,
        limit: int = 500,
        before: datetime | None = None,
        start: datetime | None = None,
    ) -> list[IndicatorRow]: ...


class IndicatorReader(ReadConnections):
    """Safe to call from several threads."""

    def indicators(
        self,
        symbol: str,
        interval: Interval,
        limit: int = 500,
        before: datetime | None = None,
        start: datetime | None = None,
    ) -> list[IndicatorRow]:
        """The newest `limit` rows with start <= window_start < before, oldest first, as `MarketReader.candles`."""
        bound = {"symbol": symbol, "interval": interval, "before": before, "start": start, "limit": limit}
        with self.connection() as connection, connection.cursor(row_factory=class_row(IndicatorRow)) as cursor:
            found = cursor.execute(_NEWEST, bound).fetchall()
        found.reverse()
        return found
