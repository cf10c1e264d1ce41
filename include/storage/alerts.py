"""The table of alerts: one open alert a subject, however often it is seen."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any, Literal, Self

import psycopg
from psycopg.rows import class_row, dict_row

from include.storage.database import libpq_url

Kind = Literal["quality", "anomaly", "stream", "pipeline"]
Severity = Literal["warning", "high", "critical"]
#: An anomaly is a moment: its alert is over after this, told or not needed any more.
ANOMALY_LASTS = "1 day"
#: And after this where a channel has been away all the time: then it is no news any more.
UNTOLD_ANOMALY_LASTS = "3 days"

# Seen again, it is not told again, unless it has become worse.
_RAISE = """
INSERT INTO alerts AS held (kind, subject, severity, title, body, symbol)
VALUES (%(kind)s, %(subject)s, %(severity)s, %(title)s, %(body)s, %(symbol)s)
ON CONFLICT (kind, subject) WHERE resolved_at IS NULL DO UPDATE SET
    times_seen = held.times_seen + 1, last_seen_at = now(), severity = excluded.severity, title = excluded.title,
    body = excluded.body,
    delivered_at = CASE
        WHEN array_position(ARRAY['warning', 'high', 'critical'], excluded.severity)
           > array_position(ARRAY['warning', 'high', 'critical'], held.severity) THEN NULL ELSE held.delivered_at END
RETURNING times_seen = 1 AS is_new
"""
_RESOLVE = "UPDATE alerts SET resolved_at = now() WHERE kind = %s AND resolved_at IS NULL AND subject = ANY(%s)"
# A fault that another run found lies in what that one looked at: who looked at less has not seen that it is gone.
# Beyond the reach of scheduled runs it is enough to look at where it began.
_PASSED = """
SELECT DISTINCT r.check_name FROM data_quality_results r
WHERE r.run_id = %(run_id)s AND r.symbol IS NULL AND r.passed AND NOT EXISTS (
    SELECT FROM alerts a JOIN data_quality_results f ON f.check_name = a.subject
    WHERE a.kind = 'quality' AND a.resolved_at IS NULL AND a.subject = r.check_name
      AND f.symbol IS NULL AND NOT f.passed AND f.checked_at >= a.last_seen_at - interval '1 hour'
      AND (f.covered_from < r.covered_from
           OR f.covered_until > r.covered_until AND f.covered_from > now() - %(reach)s))
"""
# The worst first: where one channel is away for long, what matters is not behind what does not.
_UNDELIVERED = """
SELECT id, kind, subject, severity, symbol, title, body, raised_at, times_seen
FROM alerts WHERE resolved_at IS NULL AND delivered_at IS NULL AND concat(id, ' ', severity) <> ALL (%s)
ORDER BY array_position(ARRAY['critical', 'high', 'warning'], severity), raised_at, id LIMIT %s
"""
_WAITING = """
SELECT concat(id, ' ', severity) AS version FROM alerts WHERE resolved_at IS NULL AND delivered_at IS NULL
"""
# As bad as it was told, and no worse by now.
_DELIVERED = """
UPDATE alerts a SET delivered_at = now() FROM unnest(%s::bigint[], %s::text[]) AS told(id, severity)
WHERE a.id = told.id AND a.severity = told.severity
"""
# Two questions, for each has its index: open ones by subject, and those raised since.
_NEW_ANOMALIES = """
SELECT * FROM (
    SELECT symbol, interval, window_start, metric, z_score, severity, detected_at,
           concat_ws(':', 'anomaly', symbol, interval,
                     to_char(window_start AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'), metric) AS subject
    FROM price_anomalies WHERE detected_at >= %(since)s AND severity IN ('high', 'critical')
      AND window_start + CASE interval WHEN '1m' THEN interval '1 minute' ELSE interval '5 minutes' END
          <= now() - %(settles)s) found
WHERE NOT EXISTS (
    SELECT FROM alerts a WHERE a.kind = 'anomaly' AND a.subject = found.subject AND a.severity = found.severity
      AND a.resolved_at IS NULL)
AND NOT EXISTS (
    SELECT FROM alerts a WHERE a.kind = 'anomaly' AND a.subject = found.subject AND a.severity = found.severity
      AND a.raised_at >= %(since)s AND a.raised_at >= found.detected_at)
ORDER BY detected_at, subject LIMIT %(limit)s
"""
_WITHDRAW = """
UPDATE alerts a SET resolved_at = now() WHERE a.kind = 'anomaly' AND a.resolved_at IS NULL AND NOT EXISTS (
    SELECT FROM price_anomalies p WHERE p.symbol = a.symbol AND p.interval = split_part(a.subject, ':', 3)
      AND p.window_start = substring(a.subject FROM '^[^:]*:[^:]*:[^:]*:(.*):[^:]*$')::timestamptz
      AND p.metric = split_part(a.subject, ':', -1) AND p.severity IN ('high', 'critical'))
"""
_OVER = """
UPDATE alerts SET resolved_at = now() WHERE kind = 'anomaly' AND resolved_at IS NULL
  AND raised_at < now() - CASE WHEN delivered_at IS NULL THEN %s::interval ELSE %s::interval END
"""


@dataclass(frozen=True, slots=True)
class Alert:
    """An open alert. `title` and `body` are words for a person."""

    id: int
    kind: str
    subject: str
    severity: str
    symbol: str | None
    title: str
    body: str
    raised_at: datetime
    times_seen: int

    @property
    def version(self) -> str:
        """Another one when it has become worse, and is told again."""
        return f"{self.id} {self.severity}"


@dataclass(frozen=True, slots=True)
class FoundAnomaly:
    """An anomaly of severity high or critical that no alert tells of; `subject` is the alert's."""

    symbol: str
    interval: str
    window_start: datetime
    metric: str
    z_score: float
    severity: Severity
    detected_at: datetime
    subject: str


class AlertStore:
    """One connection, of the role pipeline_writer or pipeline_checker; every method may raise psycopg.Error."""

    def __init__(self, database_url: str) -> None:
        self._connection: psycopg.Connection[dict[str, Any]] = psycopg.connect(
            libpq_url(database_url),
            autocommit=True,
            connect_timeout=5,
            row_factory=dict_row,
            application_name="alerts",
            options="-c timezone=UTC -c statement_timeout=30000",
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    def now(self) -> datetime:
        """By the database's clock, which writes all the times here."""
        row = self._connection.execute("SELECT now() AS now").fetchone()
        assert row is not None  # a row of constants
        return row["now"]  # type: ignore[no-any-return]

    def raise_alert(
        self, kind: Kind, subject: str, severity: Severity, title: str, body: str = "", symbol: str | None = None
    ) -> bool:
        """Open it, or count that it was seen again; whether it is new."""
        bound = {
            "kind": kind,
            "subject": subject,
            "severity": severity,
            "title": title,
            "body": body,
            "symbol": symbol,
        }
        row = self._connection.execute(_RAISE, bound).fetchone()
        return bool(row and row["is_new"])

    def resolve(self, kind: Kind, subjects: Iterable[str]) -> int:
        """Close what no longer holds; how many were open."""
        return self._connection.execute(_RESOLVE, (kind, list(subjects))).rowcount

    def passed_checks(self, run_id: str, reach: timedelta) -> list[str]:
        """Names of the checks that passed in this run and have no fault outside of what it looked at.

        `reach`: so far back scheduled runs look again at a fault.
        """
        found = self._connection.execute(_PASSED, {"run_id": run_id, "reach": reach})
        return [row["check_name"] for row in found]

    def undelivered(self, limit: int, but: Iterable[str] = ()) -> list[Alert]:
        """Open alerts that not every channel has had, without these versions; the worst first, then the oldest."""
        with self._connection.cursor(row_factory=class_row(Alert)) as cursor:
            return cursor.execute(_UNDELIVERED, (list(but), limit)).fetchall()

    def waiting(self) -> set[str]:
        """Versions of all open alerts that not every channel has had."""
        return {row["version"] for row in self._connection.execute(_WAITING)}

    def mark_delivered(self, alerts: Sequence[Alert]) -> None:
        self._connection.execute(_DELIVERED, ([each.id for each in alerts], [each.severity for each in alerts]))

    def new_anomalies(self, since: datetime, settles: timedelta, limit: int) -> list[FoundAnomaly]:
        """Those detected since then that no alert tells of as they are now, oldest first.

        Of windows that ended `settles` ago or earlier: half a candle has half a volume.
        """
        bound = {"since": since, "settles": settles, "limit": limit}
        with self._connection.cursor(row_factory=class_row(FoundAnomaly)) as cursor:
            return cursor.execute(_NEW_ANOMALIES, bound).fetchall()

    def withdraw_anomalies(self) -> int:
        """Close alerts of anomalies that are no longer there, or no longer so severe; how many."""
        return self._connection.execute(_WITHDRAW).rowcount

    def end_old_anomalies(self) -> int:
        """Close alerts of anomalies of a day ago, or of three where not every channel could be told; how many."""
        return self._connection.execute(_OVER, (UNTOLD_ANOMALY_LASTS, ANOMALY_LASTS)).rowcount
