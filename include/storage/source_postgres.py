"""Calls and health of the sources in PostgreSQL: what a restart starts from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from include.market.moments import micros, moment
from include.storage.database import libpq_url
from include.storage.source_state import Call, Held, StoreAway, state_key

#: Nobody holds a source's lock for longer than a few round trips.
_TIMEOUTS = "-c lock_timeout=5000 -c statement_timeout=10000"

_UNIT_AT = """
SELECT called_at FROM (
    SELECT called_at, sum(cost) OVER (ORDER BY called_at DESC, call_id) AS units
    FROM source_calls WHERE source = %s) AS counted
WHERE units > %s ORDER BY units LIMIT 1
"""
_UNITS_SINCE = "SELECT coalesce(sum(cost), 0) FROM source_calls WHERE source = %s AND called_at >= %s"


class PostgresSourceState:
    """`source_health` and `source_calls`. One connection, made when it is needed; for one thread at a time."""

    name = "PostgreSQL"

    def __init__(self, database_url: str) -> None:
        self._url = libpq_url(database_url)
        self._connection: psycopg.Connection[Any] | None = None

    @contextmanager
    def locked(self, source: str) -> Iterator[None]:
        with self._away():
            self._connected().execute("SELECT pg_advisory_lock(hashtextextended(%s, 0))", (state_key(source),))
        try:
            yield
        finally:
            try:
                self._open().execute("SELECT pg_advisory_unlock(hashtextextended(%s, 0))", (state_key(source),))
            except psycopg.Error:
                # The lock goes with the connection.
                self.close()

    def read(self, source: str) -> Held:
        row = self._row("SELECT state FROM source_health WHERE source = %s", source)
        return Held({}) if row is None else Held(row[0]["health"], row[0]["stamp"], row[0]["revision"])

    def replace(self, source: str, held: Held, following: Held, calls: Sequence[Call], purge_us: int) -> bool:
        """See SourceStore; under the lock `held` is always what is there."""
        state = {"health": following.health, "stamp": following.stamp, "revision": following.revision}
        rows = [(source, call.id, moment(call.at_us), call.cost) for call in calls]
        with self._away(), self._open().transaction(), self._open().cursor() as cursor:
            cursor.execute(
                "INSERT INTO source_health (source, state) VALUES (%s, %s) "
                "ON CONFLICT (source) DO UPDATE SET state = excluded.state, updated_at = now()",
                (source, Jsonb(state)),
            )
            cursor.executemany(
                "INSERT INTO source_calls (source, call_id, called_at, cost) VALUES (%s, %s, %s, %s) "
                "ON CONFLICT DO NOTHING",
                rows,
            )
            cursor.execute("DELETE FROM source_calls WHERE source = %s AND called_at < %s", (source, moment(purge_us)))
        return True

    def calls(self, source: str) -> list[Call]:
        with self._away():
            rows = self._open().execute(
                "SELECT call_id, called_at, cost FROM source_calls WHERE source = %s", (source,)
            )
            return [Call(call_id, micros(called_at), cost) for call_id, called_at, cost in rows]

    def unit_at(self, source: str, newer: int) -> int | None:
        row = self._row(_UNIT_AT, source, newer)
        return None if row is None else micros(row[0])

    def units_since(self, source: str, since_us: int) -> int:
        row = self._row(_UNITS_SINCE, source, moment(since_us))
        return int(row[0]) if row else 0

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _row(self, question: str, *values: object) -> tuple[Any, ...] | None:
        with self._away():
            return self._open().execute(question, values).fetchone()

    def _open(self) -> psycopg.Connection[Any]:
        if self._connection is None:
            raise psycopg.OperationalError("the connection is lost")
        return self._connection

    def _connected(self) -> psycopg.Connection[Any]:
        """The connection, made anew if a restart of the server has cut it."""
        if self._connection is not None:
            try:
                self._connection.execute("SELECT")
            except psycopg.Error:
                self.close()
        if self._connection is None:
            self._connection = psycopg.connect(self._url, autocommit=True, connect_timeout=3, options=_TIMEOUTS)
        return self._connection

    @contextmanager
    def _away(self) -> Iterator[None]:
        try:
            yield
        except psycopg.Error as error:
            raise StoreAway(self, error) from error
