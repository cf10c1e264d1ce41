"""The list of alerts as a person sees it: anomalies as they come, and what the checks and the supervision raised."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

import psycopg
from psycopg.rows import class_row

from include.market.candle import Interval
from include.storage.database import libpq_url
from include.storage.market_reads import DatabaseUnavailable
from include.storage.read_connections import ReadConnections

Kind = Literal["anomaly", "quality", "stream", "pipeline"]
MOST = 60


@dataclass(frozen=True, slots=True)
class Notice:
    """One line of the list. Of an anomaly: its key, `value` (see Anomaly) and `z_score`; of others an `id`."""

    kind: Kind
    at: datetime
    severity: str
    title: str
    body: str
    id: int | None
    symbol: str | None
    interval: Interval | None
    window_start: datetime | None
    metric: str | None
    value: float | None
    mean: float | None
    stddev: float | None
    z_score: float | None
    acknowledged_at: datetime | None
    resolved_at: datetime | None


_NEWEST = """
SELECT * FROM (
    (SELECT 'anomaly' AS kind, p.detected_at AS at, p.severity, '' AS title, '' AS body, NULL::bigint AS id, p.symbol,
            p.interval, p.window_start, p.metric, p.value, p.mean, p.stddev, p.z_score, k.acknowledged_at,
            NULL::timestamptz AS resolved_at
     FROM price_anomalies p LEFT JOIN anomaly_acknowledgements k USING (symbol, interval, window_start, metric)
     WHERE p.window_start > now() - interval '1 day' ORDER BY p.window_start DESC LIMIT %(limit)s)
    UNION ALL
    (SELECT kind, raised_at, severity, title, body, id, symbol, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
            acknowledged_at, resolved_at
     FROM alerts WHERE kind <> 'anomaly' AND (resolved_at IS NULL OR raised_at > now() - interval '1 day')
     ORDER BY raised_at DESC LIMIT %(limit)s)) AS notices
ORDER BY at DESC, symbol, interval, metric LIMIT %(limit)s
"""
_SEEN_ANOMALY = """
INSERT INTO anomaly_acknowledgements (symbol, interval, window_start, metric, acknowledged_by)
VALUES (%s, %s, %s, %s, %s) ON CONFLICT DO NOTHING
"""
_SEEN_ALERT = """
UPDATE alerts SET acknowledged_at = now(), acknowledged_by = %s WHERE id = %s AND acknowledged_at IS NULL
"""


class AlertReads(Protocol):
    """May raise DatabaseUnavailable."""

    def newest(self, limit: int = MOST) -> list[Notice]: ...


class Acknowledges(Protocol):
    """Both may raise DatabaseUnavailable; what is acknowledged already stays as it is."""

    def anomaly(self, symbol: str, interval: str, window_start: datetime, metric: str, by: str) -> None: ...
    def alert(self, id: int, by: str) -> None: ...


class AlertReader(ReadConnections):
    """Safe to call from several threads."""

    def newest(self, limit: int = MOST) -> list[Notice]:
        """Of the last day, and older ones that are still open; newest first."""
        with self.connection() as connection, connection.cursor(row_factory=class_row(Notice)) as cursor:
            return cursor.execute(_NEWEST, {"limit": limit}).fetchall()


class Acknowledger:
    """The only thing that the pages write, by the writer's role; a connection for each, for it is rare."""

    def __init__(self, writer_url: str) -> None:
        self._url = libpq_url(writer_url)

    def anomaly(self, symbol: str, interval: str, window_start: datetime, metric: str, by: str) -> None:
        self._write(_SEEN_ANOMALY, (symbol, interval, window_start, metric, by))

    def alert(self, id: int, by: str) -> None:
        self._write(_SEEN_ALERT, (by, id))

    def _write(self, statement: str, values: tuple[object, ...]) -> None:
        try:
            with psycopg.connect(self._url, connect_timeout=3) as connection:
                connection.execute(statement, values)
        except psycopg.Error as error:
            raise DatabaseUnavailable("the database does not answer: it was not noted") from error
