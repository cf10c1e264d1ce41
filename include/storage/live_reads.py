"""How the live flow fares, in one small question: the stream's heartbeat, open markets, and what the alerts are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from psycopg.rows import class_row

from include.storage.lease import APPLICATION
from include.storage.read_connections import ReadConnections


@dataclass(frozen=True, slots=True)
class LiveState:
    """`stream_age`: seconds since the stream's last sign of life, None if it never gave one; `open`: asset classes that
    are traded now; `alerts`: changes whenever something in the list of alerts does."""

    stream_age: float | None
    is_stream_wanted: bool
    open: list[str]
    alerts: str


_STATE = """
SELECT extract(epoch FROM now() - l.heartbeat_at)::float8 AS stream_age,
       coalesce(l.desired_state = 'running', false) AS is_stream_wanted,
       ARRAY(SELECT DISTINCT asset_class FROM trading_sessions
             WHERE opens_at <= now() AND closes_at > now() ORDER BY 1) AS open,
       concat_ws('/',
           (SELECT concat(max(detected_at), ' ', count(*)) FROM price_anomalies
            WHERE window_start > now() - interval '1 day'),
           (SELECT concat(max(greatest(last_seen_at, resolved_at, acknowledged_at)), ' ', count(*)) FROM alerts
            WHERE resolved_at IS NULL OR raised_at > now() - interval '1 day'),
           (SELECT concat(max(acknowledged_at), ' ', count(*)) FROM anomaly_acknowledgements)) AS alerts
FROM (SELECT) one LEFT JOIN stream_lease l ON l.application = %(application)s
"""


class LiveReads(Protocol):
    """May raise DatabaseUnavailable."""

    def state(self) -> LiveState: ...


class LiveReader(ReadConnections):
    """Safe to call from several threads."""

    def state(self) -> LiveState:
        with self.connection() as connection, connection.cursor(row_factory=class_row(LiveState)) as cursor:
            found = cursor.execute(_STATE, {"application": APPLICATION}).fetchone()
            assert found is not None
            return found
