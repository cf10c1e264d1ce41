"""How the platform fares, read only: the stream's lease and ledger, the sources' health, quotas and switches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol, TypeVar

from psycopg.rows import class_row

from include.storage.lease import APPLICATION, StreamState
from include.storage.operations_rows import QueryFigures, RowsOfMinute, SourceRow, Used, Window
from include.storage.read_connections import ReadConnections
from include.storage.source_switches import SourceSwitch
from include.storage.supervision import LEASE

SWITCHES_SHOWN = 8

# The newest batch by the time of its commit: batch ids begin anew with a new checkpoint.
_QUERIES = """
WITH names AS (SELECT DISTINCT query_name FROM stream_checkpoints)
SELECT n.query_name, newest.batch_id, newest.committed_at, hour.rows_in, hour.rows_late, hour.rows_dead_lettered
FROM names n
CROSS JOIN LATERAL (
    SELECT b.batch_id, b.committed_at FROM stream_checkpoints c
    CROSS JOIN LATERAL (
        SELECT batch_id, committed_at FROM stream_batches
        WHERE query_name = n.query_name AND checkpoint_id = c.checkpoint_id ORDER BY batch_id DESC LIMIT 1) b
    WHERE c.query_name = n.query_name ORDER BY b.committed_at DESC LIMIT 1) newest
CROSS JOIN LATERAL (
    SELECT coalesce(sum(rows_in), 0)::bigint AS rows_in, coalesce(sum(rows_late), 0)::bigint AS rows_late,
           coalesce(sum(rows_dead_lettered), 0)::bigint AS rows_dead_lettered
    FROM stream_batches WHERE query_name = n.query_name AND committed_at > now() - interval '1 hour') hour
ORDER BY n.query_name
"""
_MINUTES = """
SELECT query_name, date_trunc('minute', committed_at, 'UTC') AS minute, sum(rows_in)::bigint AS rows_in
FROM stream_batches WHERE committed_at >= %(since)s GROUP BY 1, 2 ORDER BY 2, 1
"""
_HEALTH = "SELECT source, state -> 'health' AS health, updated_at FROM source_health ORDER BY source"
_USED = """
SELECT w.source, w.seconds, calls.used, calls.oldest + make_interval(secs => w.seconds) AS frees_at
FROM unnest(%(sources)s::text[], %(seconds)s::int[]) AS w (source, seconds)
CROSS JOIN LATERAL (
    SELECT coalesce(sum(cost), 0)::bigint AS used, min(called_at) AS oldest FROM source_calls c
    WHERE c.source = w.source AND c.called_at > now() - make_interval(secs => w.seconds)) calls
"""
_SWITCH = "switched_at, asset_class, kind, from_source, to_source, reason"
_SERVING = f"""
SELECT DISTINCT ON (asset_class, kind) {_SWITCH} FROM source_switches ORDER BY asset_class, kind, id DESC
"""
_SWITCHES = f"SELECT {_SWITCH} FROM source_switches ORDER BY id DESC LIMIT %(limit)s"

Row = TypeVar("Row")


class OperationsReads(Protocol):
    """The questions of the operations page; every method may raise DatabaseUnavailable."""

    def lease(self) -> StreamState | None: ...
    def queries(self) -> list[QueryFigures]: ...
    def minutes(self, since: datetime) -> list[RowsOfMinute]: ...
    def health(self) -> list[SourceRow]: ...
    def used(self, windows: Sequence[Window]) -> list[Used]: ...
    def serving(self) -> list[SourceSwitch]: ...
    def switches(self, limit: int = SWITCHES_SHOWN) -> list[SourceSwitch]: ...


class OperationsReader(ReadConnections):
    """The same from PostgreSQL, by the reader's role. Safe to call from several threads."""

    def lease(self) -> StreamState | None:
        """The stream's lease; None: no driver was ever wanted or started."""
        with self.connection() as connection:
            row = connection.execute(LEASE, (APPLICATION,)).fetchone()
        return StreamState(**row) if row else None

    def queries(self) -> list[QueryFigures]:
        """By name; only queries that have committed a batch."""
        return self._all(QueryFigures, _QUERIES)

    def minutes(self, since: datetime) -> list[RowsOfMinute]:
        """Oldest first. A minute in which no batch was committed has no row."""
        return self._all(RowsOfMinute, _MINUTES, {"since": since})

    def health(self) -> list[SourceRow]:
        """What PostgreSQL knows of each source that was ever asked. Nothing is locked, levelled or written."""
        return self._all(SourceRow, _HEALTH)

    def used(self, windows: Sequence[Window]) -> list[Used]:
        """Units of each window until now."""
        bound = {"sources": [each.source for each in windows], "seconds": [each.seconds for each in windows]}
        return self._all(Used, _USED, bound)

    def serving(self) -> list[SourceSwitch]:
        """What serves each asset class and want now, with the switch that made it so."""
        return self._all(SourceSwitch, _SERVING)

    def switches(self, limit: int = SWITCHES_SHOWN) -> list[SourceSwitch]:
        """The newest first."""
        return self._all(SourceSwitch, _SWITCHES, {"limit": limit})

    def _all(self, row: type[Row], statement: str, bound: Mapping[str, Any] | None = None) -> list[Row]:
        with self.connection() as connection, connection.cursor(row_factory=class_row(row)) as cursor:
            return cursor.execute(statement, bound).fetchall()
