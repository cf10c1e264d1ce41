"""Missing minutes for people, read only."""

from __future__ import annotations

from typing import Protocol

from psycopg.rows import class_row

from include.storage.operations_rows import GapCounts, GapRow
from include.storage.read_connections import ReadConnections

GAPS_SHOWN = 60

# What waits first, then what stays open, each the newest first; what was filled is history.
_GAPS = """
SELECT symbol, gap_start, gap_end, cause, state, reason, attempts, next_attempt_at FROM data_gaps
WHERE state <> 'filled' ORDER BY (state = 'unfillable'), gap_start DESC, symbol LIMIT %(limit)s
"""
_COUNTS = """
SELECT count(*) FILTER (WHERE state <> 'unfillable')::int AS open,
       coalesce(sum(minutes) FILTER (WHERE state <> 'unfillable'), 0)::int AS open_minutes,
       count(*) FILTER (WHERE state = 'unfillable')::int AS unfillable,
       coalesce(sum(minutes) FILTER (WHERE state = 'unfillable'), 0)::int AS unfillable_minutes
FROM (SELECT state, extract(epoch FROM gap_end - gap_start) / 60 AS minutes FROM data_gaps
      WHERE state <> 'filled') AS unfilled
"""


class GapReads(Protocol):
    """Both may raise DatabaseUnavailable."""

    def gaps(self, limit: int = GAPS_SHOWN) -> list[GapRow]: ...
    def counts(self) -> GapCounts: ...


class GapReader(ReadConnections):
    """The same from PostgreSQL. Safe to call from several threads."""

    def gaps(self, limit: int = GAPS_SHOWN) -> list[GapRow]:
        """Open and under repair first, then unfillable; each the newest first."""
        with self.connection() as connection, connection.cursor(row_factory=class_row(GapRow)) as cursor:
            return cursor.execute(_GAPS, {"limit": limit}).fetchall()

    def counts(self) -> GapCounts:
        with self.connection() as connection, connection.cursor(row_factory=class_row(GapCounts)) as cursor:
            return cursor.execute(_COUNTS).fetchone() or GapCounts()
