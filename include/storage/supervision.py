"""What the supervisor of a long-running application reads and writes: lease, wanted state, starts and their ends."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

import psycopg
from psycopg.rows import dict_row

from include.storage.database import libpq_url
from include.storage.lease import APPLICATION, LEASE_COLUMNS, StreamState, application_name

Outcome = Literal["stopped", "failed", "died", "stuck", "not started", "refused"]
DesiredState = Literal["running", "stopped"]
#: So many of the newest starts are read; back-off and breaker look no further back.
STARTS_READ = 20
CONNECT_SECONDS = 5
LAG_SAMPLES = 8

_START_COLUMNS = (
    "id, epoch, started_at, cause, host, pid, process_started, tracked, ended_at, outcome, reason, failed_batch"
)
LEASE = f"SELECT {LEASE_COLUMNS} FROM stream_lease WHERE application = %s"
STARTS = f"SELECT {_START_COLUMNS} FROM stream_starts WHERE application = %s ORDER BY id DESC LIMIT {STARTS_READ}"
#: `busy`: one of the owner's connections is at work in the server, or waits there for a lock.
SERVER = """
SELECT now() AS now, pg_postmaster_start_time() AS database_since, EXISTS (
    SELECT FROM pg_stat_activity WHERE application_name = %s AND state = 'active' AND pid <> pg_backend_pid()) AS busy
"""
# The lease's row may not be there yet: what is wanted can be said before the first start.
_DESIRE = """
INSERT INTO stream_lease AS held (application, desired_state, desired_by, desired_why, desired_at, desired_run)
VALUES (%(application)s, %(state)s, %(by)s, %(why)s, now(), %(run)s)
ON CONFLICT (application) DO UPDATE SET
    desired_state = excluded.desired_state, desired_by = excluded.desired_by, desired_why = excluded.desired_why,
    desired_at = now(), desired_run = excluded.desired_run,
    stop_epoch = CASE WHEN excluded.desired_state = 'stopped' THEN held.epoch ELSE held.stop_epoch END,
    forgiven_at = CASE WHEN excluded.desired_state = 'running' THEN now() ELSE held.forgiven_at END
"""
_EXPIRE = """
UPDATE stream_lease SET owner = NULL, pid = NULL, last_error = %s WHERE application = %s AND epoch = %s
"""


@dataclass(frozen=True, slots=True)
class Start:
    """One start. `outcome` is None while it goes on; `pid` leads the session of all that was launched."""

    id: int
    epoch: int | None
    started_at: datetime
    cause: str
    host: str | None = None
    pid: int | None = None
    process_started: float | None = None
    tracked: str | None = None
    ended_at: datetime | None = None
    outcome: Outcome | None = None
    reason: str | None = None
    failed_batch: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Record:
    """All that PostgreSQL says at one moment, by its own clock. `starts` newest first."""

    now: datetime
    database_since: datetime
    busy: bool
    lease: StreamState | None
    starts: tuple[Start, ...]


def record_of(
    lease: Mapping[str, Any] | None, starts: Sequence[Mapping[str, Any]], server: Mapping[str, Any]
) -> Record:
    """The record from the rows of LEASE, STARTS and SERVER."""
    return Record(
        **server,
        lease=StreamState(**lease) if lease else None,
        starts=tuple(Start(**row) for row in starts),
    )


class SupervisionStore:
    """The supervisor's connection. Every method may be repeated. Raises psycopg.Error."""

    def __init__(self, database_url: str, application: str = APPLICATION) -> None:
        self._connection: psycopg.Connection[dict[str, Any]] = psycopg.connect(
            libpq_url(database_url),
            autocommit=True,
            connect_timeout=CONNECT_SECONDS,
            row_factory=dict_row,
            application_name=f"supervision of {application}",
        )
        self.application = application

    def close(self) -> None:
        self._connection.close()

    @contextmanager
    def alone(self) -> Iterator[bool]:
        """Whether nobody else takes a step for this application meanwhile."""
        key = f"supervision of {self.application}"
        row = self._connection.execute("SELECT pg_try_advisory_lock(hashtext(%s)) AS got", (key,)).fetchone()
        got = bool(row and row["got"])
        try:
            yield got
        finally:
            if got and not self._connection.closed:
                self._connection.execute("SELECT pg_advisory_unlock(hashtext(%s))", (key,))

    def read(self) -> Record:
        lease = self._connection.execute(LEASE, (self.application,)).fetchone()
        starts = self._connection.execute(STARTS, (self.application,)).fetchall()
        epoch = lease["epoch"] if lease else 0
        server = self._connection.execute(SERVER, (application_name(epoch, self.application),)).fetchone()
        assert server is not None  # it has no FROM
        return record_of(lease, starts, server)

    def desire(self, state: DesiredState, *, by: str, why: str, run: str | None = None) -> None:
        """Say what is wanted. Stopped: the owner is asked to leave. Running: earlier bad ends are forgiven."""
        wanted = {"application": self.application, "state": state, "by": by, "why": why, "run": run}
        self._connection.execute(_DESIRE, wanted)
        if state == "stopped":
            self._give_reason(f"stopped by {by}: {why}")

    def ask_to_stop(self, epoch: int, reason: str) -> None:
        """Whoever owns this epoch reads it at the next heartbeat; the reason goes with the start's end."""
        self._connection.execute(
            "UPDATE stream_lease SET stop_epoch = epoch WHERE application = %s AND epoch = %s",
            (self.application, epoch),
        )
        self._give_reason(reason)

    def _give_reason(self, reason: str) -> None:
        """Why the start that goes on is about to end; the application adds its own word if it has one."""
        self._connection.execute(
            "UPDATE stream_starts SET reason = %s WHERE application = %s AND ended_at IS NULL",
            (reason, self.application),
        )

    def expire(self, epoch: int, reason: str) -> None:
        """The lease of an owner that is no more: the next one need not wait until it is stale."""
        self._connection.execute(_EXPIRE, (reason, self.application, epoch))

    def add_start(self, cause: str, host: str | None) -> int:
        """Record a start before it is made; its id."""
        row = self._connection.execute(
            "INSERT INTO stream_starts (application, cause, host) VALUES (%s, %s, %s) RETURNING id",
            (self.application, cause, host),
        ).fetchone()
        assert row is not None  # RETURNING of an insert
        return int(row["id"])

    def launched(self, start: int, pid: int | None, process_started: float | None, tracked: str | None) -> None:
        """What was launched for a recorded start."""
        self._connection.execute(
            "UPDATE stream_starts SET pid = %s, process_started = %s, tracked = %s WHERE id = %s",
            (pid, process_started, tracked, start),
        )

    def end_start(self, start: int, outcome: Outcome, reason: str | None) -> None:
        """How a start ended; nothing if it was recorded already, as by the application itself."""
        self._connection.execute(
            "UPDATE stream_starts SET ended_at = now(), outcome = %s, reason = coalesce(%s, reason) "
            "WHERE id = %s AND ended_at IS NULL",
            (outcome, reason, start),
        )

    def add_lag_sample(self, samples: Sequence[Mapping[str, Any]], now: datetime, lag: int) -> list[dict[str, Any]]:
        """Keep one measurement a run; the newest ones, oldest first."""
        kept = [dict(sample) for sample in samples]
        if kept and now - datetime.fromisoformat(kept[-1]["at"]) < timedelta(seconds=45):
            return kept
        kept = [*kept, {"at": now.isoformat(), "lag": lag}][-LAG_SAMPLES:]
        self._connection.execute(
            "UPDATE stream_lease SET lag_samples = %s WHERE application = %s", (json.dumps(kept), self.application)
        )
        return kept
