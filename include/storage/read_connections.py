"""Connections of those who only read, kept and reused: one outage is one error, whoever asks."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import fields
from threading import Lock
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg.conninfo import make_conninfo
from psycopg.rows import dict_row
from psycopg.sql import SQL, Composed, Identifier

from include.errors import MarketDataError
from include.storage.database import libpq_url

if TYPE_CHECKING:
    from collections.abc import Iterator

    Connection = psycopg.Connection[dict[str, Any]]


class DatabaseUnavailable(MarketDataError):
    """PostgreSQL does not answer, or has no market tables yet."""

    retriable = True


def columns_of(row: type) -> Composed:
    """The columns that a row's dataclass has fields for, in their order, as a statement names them."""
    return SQL(", ").join(Identifier(each.name) for each in fields(row))


class ReadConnections:
    """Read-only sessions in UTC, each statement by itself. Safe to use from several threads."""

    def __init__(self, database_url: str) -> None:
        self._conninfo = make_conninfo(
            libpq_url(database_url),
            connect_timeout=3,
            application_name="market-reads",
            options="-c default_transaction_read_only=on -c statement_timeout=4000 -c timezone=UTC",
        )
        self._idle: list[Connection] = []
        self._lock = Lock()

    def close(self) -> None:
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    @contextmanager
    def connection(self) -> Iterator[Connection]:
        """A connection to ourselves. After any error it is thrown away with its idle twins."""
        try:
            connection = self._take()
            try:
                yield connection
            except psycopg.Error:
                connection.close()
                self.close()
                raise
            with self._lock:
                self._idle.append(connection)
        except psycopg.Error as error:
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise DatabaseUnavailable(f"the database does not answer: {reason}") from error

    def _take(self) -> Connection:
        with self._lock:
            connection = self._idle.pop() if self._idle else None
        if connection is not None:
            # A server restart leaves dead connections behind; the answer must not fail for that.
            try:
                connection.execute("SELECT 1")
                return connection
            except psycopg.Error:
                connection.close()
        return psycopg.connect(self._conninfo, autocommit=True, row_factory=dict_row)
