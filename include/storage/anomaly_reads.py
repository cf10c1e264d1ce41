"""Anomalies as the stream found them, read only."""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import datetime

from psycopg.rows import class_row
from psycopg.sql import SQL, Identifier

from include.market.candle import Interval
from include.storage.read_connections import ReadConnections


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


_BETWEEN = SQL(
    "SELECT {} FROM price_anomalies WHERE window_start >= %(start)s AND window_start < %(end)s"
    " AND (%(symbol)s::text IS NULL OR symbol = %(symbol)s)"
    " ORDER BY window_start DESC, symbol, interval, metric LIMIT %(limit)s"
).format(SQL(", ").join(Identifier(field.name) for field in fields(Anomaly)))


class AnomalyReader(ReadConnections):
    """Safe to call from several threads; may raise DatabaseUnavailable."""

    def anomalies_between(
        self, start: datetime, end: datetime, symbol: str | None = None, limit: int = 1_000
    ) -> list[Anomaly]:
        """The newest `limit` anomalies with start <= window_start < end, newest first."""
        bound = {"start": start, "end": end, "symbol": symbol, "limit": limit}
        with self.connection() as connection, connection.cursor(row_factory=class_row(Anomaly)) as cursor:
            return cursor.execute(_BETWEEN, bound).fetchall()
