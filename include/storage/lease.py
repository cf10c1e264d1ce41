"""The lease of a long-running application: who may write, since when, and how it fares.

A driver takes the lease with a new epoch before it starts a query; every batch checks the epoch inside
its transaction, so a driver that was replaced can write nothing more.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import psutil
import psycopg
from psycopg.rows import dict_row

from include.errors import LeaseLost
from include.storage.database import libpq_url

APPLICATION = "market_stream"
#: Without a heartbeat for this long another driver may take over.
STALE_AFTER_SECONDS = 15
#: So long a backend of an older epoch may take to end.
TERMINATION_MS = 5_000

_ACQUIRE = """
INSERT INTO stream_lease AS held (application, epoch, owner, pid, process_started, started_at, heartbeat_at, last_error)
VALUES (%(application)s, 1, %(owner)s, %(pid)s, %(process_started)s, now(), now(), NULL)
ON CONFLICT (application) DO UPDATE SET
    epoch = held.epoch + 1, owner = excluded.owner, pid = excluded.pid, process_started = excluded.process_started,
    started_at = now(), heartbeat_at = now(), details = '{}', last_error = NULL, stop_epoch = NULL
WHERE held.owner IS NULL OR held.owner = excluded.owner OR held.heartbeat_at IS NULL
   OR held.heartbeat_at < now() - make_interval(secs => %(stale)s)
RETURNING epoch
"""
# One that froze inside a batch holds the fence row, and would hold it until its transaction times out.
_TERMINATE_OLDER = """
SELECT pg_terminate_backend(pid, %(patience)s) FROM pg_stat_activity
WHERE datname = current_database() AND usename = current_user AND pid <> pg_backend_pid()
  AND starts_with(application_name, %(prefix)s)
  AND substr(application_name, length(%(prefix)s) + 1) ~ '^[0-9]{1,18}$'
  AND substr(application_name, length(%(prefix)s) + 1)::bigint < %(epoch)s
"""
_FENCE = """
INSERT INTO stream_fence (application, epoch) VALUES (%(application)s, %(epoch)s)
ON CONFLICT (application) DO UPDATE SET epoch = excluded.epoch
"""
_END_OLDER = """
UPDATE stream_starts SET ended_at = now(), outcome = 'died', reason = coalesce(reason, 'its lease was taken over')
WHERE application = %(application)s AND ended_at IS NULL AND epoch < %(epoch)s
"""
#: The newest start that has no epoch yet is this one.
_ATTACH = """
UPDATE stream_starts SET epoch = %(epoch)s WHERE id = (
    SELECT max(id) FROM stream_starts WHERE application = %(application)s AND epoch IS NULL AND ended_at IS NULL)
"""
_BY_HAND = """
INSERT INTO stream_starts (application, epoch, cause) VALUES (%(application)s, %(epoch)s, 'by hand')
"""
_END = """
UPDATE stream_starts SET ended_at = now(), outcome = %s, reason = coalesce(%s, reason), failed_batch = %s
WHERE application = %s AND epoch = %s AND ended_at IS NULL
"""
LEASE_COLUMNS = (
    "epoch, owner, pid, process_started, started_at, heartbeat_at, details, last_error, stop_epoch, forgiven_at, "
    "lag_samples, desired_state, desired_by, desired_why, desired_at, desired_run"
)


@dataclass(frozen=True, slots=True)
class StreamState:
    """The lease as it stands. `details` holds the driver's own figures by query; times are the server's."""

    epoch: int
    owner: str | None
    pid: int | None
    started_at: datetime | None
    heartbeat_at: datetime | None
    desired_state: str
    details: dict[str, Any]
    last_error: str | None
    #: When the owner's process began, in epoch seconds.
    process_started: float | None = None
    stop_epoch: int | None = None
    forgiven_at: datetime | None = None
    #: `{"at": ISO time, "lag": records}`, oldest first: what the last runs measured.
    lag_samples: list[dict[str, Any]] = field(default_factory=list)
    desired_by: str | None = None
    desired_why: str | None = None
    desired_at: datetime | None = None
    desired_run: str | None = None

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


def application_name(epoch: int, application: str = APPLICATION) -> str:
    """What the owner's connections call themselves, so that a successor can end them."""
    return f"{application}:{epoch}"


class Lease:
    """The owner's side. One connection of its own, so that a long batch never delays a heartbeat.

    With `epoch` it goes on with a lease that was taken before, on a new connection.
    """

    def __init__(self, database_url: str, application: str = APPLICATION, *, epoch: int = 0) -> None:
        self._connection: psycopg.Connection[Any] = psycopg.connect(
            libpq_url(database_url),
            autocommit=True,
            connect_timeout=10,
            application_name=application_name(epoch, application) if epoch else application,
        )
        self._application = application
        self.epoch = epoch
        #: The supervisor asks this owner to finish and leave; as of the last heartbeat.
        self.is_stop_asked = False

    def acquire(self, owner: str, pid: int, stale_after_seconds: float = STALE_AFTER_SECONDS) -> int:
        """Take the lease; its new epoch. Raises LeaseHeld while another owner is alive.

        Connections of older epochs are ended first, else a frozen one's open batch would hold the fence. No
        deadlock: who holds the fence row (a batch) never waits for the lease row, which this transaction holds.
        """
        wanted = {"application": self._application, "owner": owner, "pid": pid, "stale": stale_after_seconds}
        with self._connection.transaction():
            wanted["process_started"] = process_started(pid)
            row = self._connection.execute(_ACQUIRE, wanted).fetchone()
            if row is None:
                raise LeaseHeld("another driver holds the stream's lease and is alive")
            epoch = int(row[0])
            bound = {**wanted, "epoch": epoch, "prefix": f"{self._application}:", "patience": TERMINATION_MS}
            name = application_name(epoch, self._application)
            self._connection.execute("SELECT set_config('application_name', %s, false)", (name,))
            self._connection.execute(_TERMINATE_OLDER, bound)
            # Waits for a batch that a nameless connection still has open; from here on no other one can commit.
            self._connection.execute(_FENCE, bound)
            self._connection.execute(_END_OLDER, bound)
            if self._connection.execute(_ATTACH, bound).rowcount == 0:
                self._connection.execute(_BY_HAND, bound)
        self.epoch = epoch
        return self.epoch

    def heartbeat(self, details: dict[str, Any]) -> bool:
        """Say that the stream goes on; False when the lease is another's now. Sets `is_stop_asked`."""
        row = self._connection.execute(
            "UPDATE stream_lease SET heartbeat_at = now(), details = %s WHERE application = %s AND epoch = %s "
            "AND owner IS NOT NULL RETURNING coalesce(stop_epoch = epoch, false)",
            (json.dumps(details), self._application, self.epoch),
        ).fetchone()
        self.is_stop_asked = bool(row and row[0])
        return row is not None

    def release(self, last_error: str | None = None, failed_batch: dict[str, Any] | None = None) -> None:
        """Give the lease back; nothing happens if it is another's already.

        `failed_batch` is `{"query", "batch_id", "offsets"}` of the batch that `last_error` came from.
        """
        outcome = "failed" if last_error else "stopped"
        with self._connection.transaction():
            self._connection.execute(
                "UPDATE stream_lease SET owner = NULL, pid = NULL, last_error = %s "
                "WHERE application = %s AND epoch = %s",
                (last_error, self._application, self.epoch),
            )
            batch = None if failed_batch is None else json.dumps(failed_batch)
            self._connection.execute(_END, (outcome, last_error, batch, self._application, self.epoch))

    def close(self) -> None:
        self._connection.close()


def read_stream_state(database_url: str, application: str = APPLICATION) -> StreamState | None:
    """The lease's row; None if no driver ever took it. Raises psycopg.Error."""
    with (
        psycopg.connect(libpq_url(database_url), connect_timeout=5, row_factory=dict_row) as connection,
        connection.cursor() as cursor,
    ):
        cursor.execute(f"SELECT {LEASE_COLUMNS} FROM stream_lease WHERE application = %s", (application,))
        row = cursor.fetchone()
    return StreamState(**row) if row else None


def process_started(pid: int | None) -> float | None:
    """When the process began, in epoch seconds; None if there is none of that number here."""
    if pid is None:
        return None
    try:
        return psutil.Process(pid).create_time()
    except psutil.NoSuchProcess:
        return None
