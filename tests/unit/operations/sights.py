"""What was seen, in literals: leases, starts and looks for the tests of the supervisor."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from include.operations.supervision import Process, QueryBacklog, Seen
from include.storage.lease import StreamState
from include.storage.supervision import Record, Start

NOW = datetime(2026, 11, 2, 15, 0, tzinfo=UTC)
LONG_AGO = NOW - timedelta(days=3)
DETAILS = {"queries": {"events_crypto": {"lag": 3, "batch_id": 9, "batch_seconds_p95": 2.0}}, "spark_ui": "http://x"}


def before(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)


def lease(beat: float = 1, **changes: Any) -> StreamState:
    """Held by pid 7 for an hour, heard of `beat` seconds ago."""
    fields: dict[str, Any] = {
        "epoch": 4,
        "owner": "here:7",
        "pid": 7,
        "started_at": before(3_600),
        "heartbeat_at": before(beat),
        "desired_state": "running",
        "details": DETAILS,
        "last_error": None,
    }
    return StreamState(**(fields | changes))


def released(**changes: Any) -> StreamState:
    return lease(owner=None, pid=None, **changes)


def start(ago: float = 3_600, *, lasted: float | None = None, outcome: str = "died", **changes: Any) -> Start:
    """A start `ago` seconds ago that goes on, or that `lasted` and ended."""
    ended = {} if lasted is None else {"ended_at": before(ago - lasted), "outcome": outcome, "reason": "why"}
    fields: dict[str, Any] = {"id": int(ago * 10), "epoch": 4, "started_at": before(ago), "cause": "c", **ended}
    return Start(**(fields | changes))


def seen(
    held: StreamState | None,
    *starts: Start,
    owner: Process = Process.ALIVE,
    starter: Process = Process.ALIVE,
    backlog: dict[str, QueryBacklog] | None = None,
    database_since: datetime = LONG_AGO,
    busy: bool = False,
) -> Seen:
    return Seen(Record(NOW, database_since, busy, held, starts), owner, starter, backlog)
