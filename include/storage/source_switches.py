"""Which source serves what, and since when: `source_switches`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from threading import Lock
from typing import Any

import psycopg
from psycopg.rows import class_row

from include.storage.database import libpq_url


@dataclass(frozen=True, slots=True)
class SourceSwitch:
    """`kind` is a want's name; `from_source` is None at the first choice."""

    switched_at: datetime
    asset_class: str
    kind: str
    from_source: str | None
    to_source: str
    reason: str


class SourceSwitches:
    """One connection, made when it is needed and again after a restart. Raises psycopg.Error."""

    def __init__(self, database_url: str) -> None:
        self._url = libpq_url(database_url)
        self._lock = Lock()
        self._connection: psycopg.Connection[Any] | None = None

    def active(self, asset_class: str, kind: str) -> str | None:
        """The source that was switched to last; None while there was no choice yet."""
        with self._lock:
            row = (
                self._connected()
                .execute(
                    "SELECT to_source FROM source_switches WHERE asset_class = %s AND kind = %s "
                    "ORDER BY id DESC LIMIT 1",
                    (asset_class, kind),
                )
                .fetchone()
            )
        return None if row is None else str(row[0])

    def record(self, asset_class: str, kind: str, from_source: str | None, to_source: str, reason: str) -> None:
        """From now on `to_source` serves this."""
        with self._lock:
            self._connected().execute(
                "INSERT INTO source_switches (asset_class, kind, from_source, to_source, reason) "
                "VALUES (%s, %s, %s, %s, %s)",
                (asset_class, kind, from_source, to_source, reason),
            )

    def recent(self, limit: int = 20) -> list[SourceSwitch]:
        """The newest first."""
        with self._lock, self._connected().cursor(row_factory=class_row(SourceSwitch)) as cursor:
            cursor.execute(
                "SELECT switched_at, asset_class, kind, from_source, to_source, reason FROM source_switches "
                "ORDER BY id DESC LIMIT %s",
                (limit,),
            )
            return cursor.fetchall()

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _connected(self) -> psycopg.Connection[Any]:
        if self._connection is not None:
            try:
                self._connection.execute("SELECT")
            except psycopg.Error:
                self.close()
        if self._connection is None:
            self._connection = psycopg.connect(self._url, autocommit=True, connect_timeout=3)
        return self._connection
