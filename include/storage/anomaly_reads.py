"""Anomalies as the stream found them, read only."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Literal, NamedTuple, Protocol

from psycopg.rows import class_row
from psycopg.sql import SQL

from include.market.candle import Interval
from include.storage.read_connections import ReadConnections, columns_of

Metric = Literal["price", "volume"]
Severity = Literal["warning", "high", "critical"]


@dataclass(frozen=True, slots=True)
class Anomaly:
    """One row of `price_anomalies`. `value` is a log return for `price`, ln(1 + volume) for `volume`."""

    symbol: str
    interval: Interval
    window_start: datetime
    metric: str
    value: float
    mean: float
    stddev: float
    z_score: float
    severity: str
    detected_at: datetime


class AnomalyKey(NamedTuple):
    """Where an answer stopped: its last row's place in the order newest first, then by symbol, interval, metric."""

    window_start: datetime
    symbol: str
    interval: str
    metric: str


@dataclass(frozen=True, slots=True)
class AnomalyFilter:
    """start <= window_start < end; None: all of them."""

    symbol: str | None = None
    interval: Interval | None = None
    metric: Metric | None = None
    severity: Severity | None = None
    start: datetime | None = None
    end: datetime | None = None


_COLUMNS = columns_of(Anomaly)
_BETWEEN = SQL(
    "SELECT {} FROM price_anomalies WHERE window_start >= %(start)s AND window_start < %(end)s"
    " AND (%(symbol)s::text IS NULL OR symbol = %(symbol)s)"
    " ORDER BY window_start DESC, symbol, interval, metric LIMIT %(limit)s"
).format(_COLUMNS)
# The bound on window_start alone is what the index by time can use; the rest decides within that moment.
_MATCHING = SQL(
    "SELECT {} FROM price_anomalies WHERE (%(start)s::timestamptz IS NULL OR window_start >= %(start)s)"
    " AND (%(end)s::timestamptz IS NULL OR window_start < %(end)s)"
    " AND (%(symbol)s::text IS NULL OR symbol = %(symbol)s)"
    " AND (%(interval)s::text IS NULL OR interval = %(interval)s)"
    " AND (%(metric)s::text IS NULL OR metric = %(metric)s)"
    " AND (%(severity)s::text IS NULL OR severity = %(severity)s)"
    " AND (%(last_start)s::timestamptz IS NULL OR (window_start <= %(last_start)s AND (window_start < %(last_start)s"
    " OR (symbol, interval, metric) > (%(last_symbol)s, %(last_interval)s, %(last_metric)s))))"
    " ORDER BY window_start DESC, symbol, interval, metric LIMIT %(limit)s"
).format(_COLUMNS)


class AnomalyReads(Protocol):
    """What the API asks; may raise DatabaseUnavailable."""

    def anomalies(self, wanted: AnomalyFilter, limit: int = 500, after: AnomalyKey | None = None) -> list[Anomaly]: ...


class AnomalyReader(ReadConnections):
    """Safe to call from several threads; may raise DatabaseUnavailable."""

    def anomalies(self, wanted: AnomalyFilter, limit: int = 500, after: AnomalyKey | None = None) -> list[Anomaly]:
        """The newest `limit` of those wanted, newest first; `after`: those that follow that place in the order."""
        last = after or (None, None, None, None)
        place = dict(zip(("last_start", "last_symbol", "last_interval", "last_metric"), last, strict=True))
        bound = {**asdict(wanted), **place, "limit": limit}
        with self.connection() as connection, connection.cursor(row_factory=class_row(Anomaly)) as cursor:
            return cursor.execute(_MATCHING, bound).fetchall()

    def anomalies_between(
        self, start: datetime, end: datetime, symbol: str | None = None, limit: int = 1_000
    ) -> list[Anomaly]:
        """The newest `limit` anomalies with start <= window_start < end, newest first."""
        bound = {"start": start, "end": end, "symbol": symbol, "limit": limit}
        with self.connection() as connection, connection.cursor(row_factory=class_row(Anomaly)) as cursor:
            return cursor.execute(_BETWEEN, bound).fetchall()
