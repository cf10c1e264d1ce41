"""The lease of the Spark driver: who may write, since when, and how it fares.

A driver takes the lease with a new epoch before it starts a query; every batch checks the epoch inside
its transaction, so a driver that was replaced can write nothing more.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
from psycopg.rows import dict_row

from include.errors import LeaseLost
from include.storage.database import libpq_url

APPLICATION = "market_stream"
#: Without a heartbeat for this long another driver may take over.
STALE_AFTER_SECONDS = 15

_ACQUIRE = """
INSERT INTO stream_lease AS held (application, epoch, owner, pid, started_at, heartbeat_at, last_error)
VALUES (%(application)s, 1, %(owner)s, %(pid)s, now(), now(), NULL)
ON CONFLICT (application) DO UPDATE SET
    epoch = held.epoch + 1, owner = excluded.owner, pid = excluded.pid,
    started_at = now(), heartbeat_at = now(), details = '{}', last_error = NULL
WHERE held.owner IS NULL OR held.owner = excluded.owner OR held.heartbeat_at IS NULL
   OR held.heartbeat_at < now() - make_interval(secs => %(stale)s)
RETURNING epoch
"""
_FENCE = """
INSERT INTO stream_fence (application, epoch) VALUES (%(application)s, %(epoch)s)
ON CONFLICT (application) DO UPDATE SET epoch = excluded.epoch
"""


@dataclass(frozen=True, slots=True)
class StreamState:
    """The lease as it stands. `details` holds the driver's own figures by query."""

    epoch: int
    owner: str | None
    pid: int | None
    started_at: datetime | None
    heartbeat_at: datetime | None
    desired_state: str
    details: dict[str, Any]
    last_error: str | None

    @property
    def is_alive(self) -> bool:
        """Somebody holds the lease and has said so lately."""
        if self.owner is None or self.heartbeat_at is None:
            return False
        return datetime.now(UTC) - self.heartbeat_at < timedelta(seconds=STALE_AFTER_SECONDS)

    @property
    def lag(self) -> int | None:
        """Events in Kafka that no batch has taken yet; None until the driver has said."""
        lags = [query["lag"] for query in self.details.get("queries", {}).values() if query.get("lag") is not None]
        return sum(lags) if lags else None


class LeaseHeld(LeaseLost):
    """Another driver holds the lease and is alive."""


class Lease:
    """The driver's side. One connection of its own, so that a long batch never delays a heartbeat."""

    def __init__(self, database_url: str, application: str = APPLICATION) -> None:
        self._connection: psycopg.Connection[Any] = psycopg.connect(libpq_url(database_url), autocommit=True)
        self._application = application
        self.epoch = 0

    def acquire(self, owner: str, pid: int, stale_after_seconds: float = STALE_AFTER_SECONDS) -> int:
        """Take the lease; its new epoch. Raises LeaseHeld while another owner is alive."""
        wanted = {"application": self._application, "owner": owner, "pid": pid, "stale": stale_after_seconds}
        with self._connection.transaction():
            row = self._connection.execute(_ACQUIRE, wanted).fetchone()
            if row is None:
                raise LeaseHeld("another driver holds the stream's lease and is alive")
            # Waits for a batch that its old owner has open; from here on no other one can commit.
            self._connection.execute(_FENCE, {"application": self._application, "epoch": row[0]})
        self.epoch = int(row[0])
        return self.epoch

    def heartbeat(self, details: dict[str, Any]) -> bool:
        """Say that the stream goes on; False when the lease is another's now."""
        done = self._connection.execute(
            "UPDATE stream_lease SET heartbeat_at = now(), details = %s WHERE application = %s AND epoch = %s",
            (json.dumps(details), self._application, self.epoch),
        )
        return done.rowcount == 1

    def release(self, last_error: str | None = None) -> None:
        """Give the lease back; nothing happens if it is another's already."""
        self._connection.execute(
            "UPDATE stream_lease SET owner = NULL, pid = NULL, last_error = %s WHERE application = %s AND epoch = %s",
            (last_error, self._application, self.epoch),
        )

    def close(self) -> None:
        self._connection.close()


def read_stream_state(database_url: str, application: str = APPLICATION) -> StreamState | None:
    """The lease's row; None if no driver ever took it. Raises psycopg.Error."""
    with (
        psycopg.connect(libpq_url(database_url), connect_timeout=5, row_factory=dict_row) as connection,
        connection.cursor() as cursor,
    ):
        cursor.execute(
            "SELECT epoch, owner, pid, started_at, heartbeat_at, desired_state, details, last_error "
            "FROM stream_lease WHERE application = %s",
            (application,),
        )
        row = cursor.fetchone()
    return StreamState(**row) if row else None
