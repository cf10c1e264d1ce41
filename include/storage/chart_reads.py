"""What is drawn over the candles: indicators, anomalies, gaps and the hours without trade, in one round trip."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from psycopg.rows import class_row
from psycopg.sql import SQL

from include.market.candle import Interval
from include.storage.anomaly_reads import Anomaly
from include.storage.read_connections import ReadConnections, columns_of


@dataclass(frozen=True, slots=True)
class IndicatorPoint:
    """The drawn columns of `indicators`: prices in the quote currency, volatility as a fraction; None if not known."""

    window_start: datetime
    sma_20: float | None = None
    ema_12: float | None = None
    ema_26: float | None = None
    bollinger_upper: float | None = None
    bollinger_lower: float | None = None
    volatility_20: float | None = None


@dataclass(frozen=True, slots=True)
class DataGap:
    """Minutes in session that are missing: [gap_start, gap_end)."""

    gap_start: datetime
    gap_end: datetime
    cause: str
    state: str
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Closure:
    """Between two sessions of a market."""

    closes_at: datetime
    opens_at: datetime


@dataclass(frozen=True, slots=True)
class Marks:
    """Everything of one symbol and interval between two moments, oldest first."""

    indicators: list[IndicatorPoint] = field(default_factory=list)
    anomalies: list[Anomaly] = field(default_factory=list)
    gaps: list[DataGap] = field(default_factory=list)
    closures: list[Closure] = field(default_factory=list)


_KEY = (
    "symbol = %(symbol)s AND interval = %(interval)s AND window_start >= %(start)s"
    " AND (%(end)s::timestamptz IS NULL OR window_start < %(end)s) ORDER BY window_start"
)
_INDICATORS = SQL("SELECT {} FROM indicators WHERE " + _KEY).format(columns_of(IndicatorPoint))
_ANOMALIES = SQL("SELECT {} FROM price_anomalies WHERE " + _KEY + ", metric").format(columns_of(Anomaly))
_GAPS = SQL(
    "SELECT {} FROM data_gaps WHERE symbol = %(symbol)s AND gap_end > %(start)s AND state <> 'filled'"
    " AND (%(end)s::timestamptz IS NULL OR gap_start < %(end)s) ORDER BY gap_start"
).format(columns_of(DataGap))

# A look further back, for the session before the first moment.
_CLOSURES = """
SELECT closes_at, opens_at FROM (
    SELECT s.closes_at, lead(s.opens_at) OVER (ORDER BY s.opens_at) AS opens_at
    FROM trading_sessions s JOIN instruments i USING (asset_class)
    WHERE i.symbol = %(symbol)s AND s.closes_at > %(start)s::timestamptz - interval '10 days'
      AND s.opens_at < coalesce(%(end)s::timestamptz, now() + interval '10 days')) AS between_sessions
WHERE opens_at > closes_at AND opens_at > %(start)s ORDER BY closes_at
"""


class MarkReads(Protocol):
    """May raise DatabaseUnavailable."""

    def marks(self, symbol: str, interval: Interval | None, start: datetime, end: datetime | None = None) -> Marks: ...


class ChartReader(ReadConnections):
    """Safe to call from several threads."""

    def marks(self, symbol: str, interval: Interval | None, start: datetime, end: datetime | None = None) -> Marks:
        """Of windows with start <= window_start < end (open if None); of gaps, what overlaps that.

        Without an interval, no indicators and no anomalies.
        """
        bound = {"symbol": symbol, "interval": interval, "start": start, "end": end}
        with self.connection() as connection, connection.pipeline():
            indicators = connection.cursor(row_factory=class_row(IndicatorPoint)).execute(_INDICATORS, bound)
            anomalies = connection.cursor(row_factory=class_row(Anomaly)).execute(_ANOMALIES, bound)
            gaps = connection.cursor(row_factory=class_row(DataGap)).execute(_GAPS, bound)
            closures = connection.cursor(row_factory=class_row(Closure)).execute(_CLOSURES, bound)
            return Marks(indicators.fetchall(), anomalies.fetchall(), gaps.fetchall(), closures.fetchall())
