"""What a person reads of a stream: one dictionary, and the same as lines."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from include.operations.supervision import HEALTHY, Process, Seen, Verdict
from include.storage.supervision import Start

#: So many of the newest starts are shown.
STARTS_SHOWN = 5
_FIGURES = ("batch_id", "input_rows_per_second", "rows_per_second", "watermark", "lag")


def report(application: str, seen: Seen, verdict: Verdict) -> dict[str, Any]:
    """JSON-safe; times ISO 8601 UTC, rates in records a second, lag in records.

    `figures` is what the application says of itself besides.
    """
    lease, record = seen.record.lease, seen.record
    owned = lease is not None and lease.owner is not None
    newest = record.starts[0] if record.starts else None
    told: dict[str, Any] = {
        "application": application,
        "state": str(verdict.state),
        "healthy": verdict.state in HEALTHY,
        "why": verdict.why,
        "until": _iso(verdict.until),
        "epoch": lease.epoch if lease else 0,
        "pid": lease.pid if owned and lease else None,
        "owner": lease.owner if owned and lease else None,
        "process": str(seen.owner) if owned else str(Process.GONE),
        "tracked": newest.tracked if newest else None,
        "since": _iso(lease.started_at) if owned and lease else None,
        "last_error": lease.last_error if lease else None,
        "wanted": lease.desired_state if lease else "running",
        "starts_of_late": [_start(start) for start in record.starts[:STARTS_SHOWN]],
        "looked_at": _iso(record.now),
    }
    if lease is None or not owned:
        return {**told, "lag": None, "queries": {}, "spark_ui": None, "figures": {}}
    return told | _figures(seen)


def lines(told: dict[str, Any]) -> list[str]:
    """The report for a log."""
    if told["pid"] is None:
        who = "nobody owns the lease"
    else:
        who = f"epoch {told['epoch']}, pid {told['pid']} ({told['owner']}), since {told['since']}"
    found = [f"{told['application']}: {told['state']}{' - ' + told['why'] if told['why'] else ''}", who]
    if told["until"]:
        found.append(f"until {told['until']}")
    if told["lag"] is not None:
        found.append(f"lag {told['lag']:,} records")
    for name, query in told["queries"].items():
        found.append(f"{name}: " + ", ".join(f"{key} {query.get(key)}" for key in _FIGURES))
    if told["figures"]:
        found.append(", ".join(f"{key} {value}" for key, value in told["figures"].items()))
    if told["last_error"]:
        found.append(f"last error: {told['last_error']}")
    for start in told["starts_of_late"]:
        ended = f"{start['outcome']} at {start['ended_at']}: {start['reason']}" if start["outcome"] else "goes on"
        found.append(f"start at {start['started_at']} ({start['cause']}), {ended}")
    return found


def _figures(seen: Seen) -> dict[str, Any]:
    lease = seen.record.lease
    assert lease is not None  # the caller's look
    details = dict(lease.details)
    queries = details.pop("queries", {})
    lag = lease.lag
    if seen.backlog is not None:
        lag = sum(query.behind or 0 for query in seen.backlog.values())
    return {"lag": lag, "queries": queries, "spark_ui": details.pop("spark_ui", None), "figures": details}


def _start(start: Start) -> dict[str, Any]:
    return {
        "started_at": _iso(start.started_at),
        "cause": start.cause,
        "epoch": start.epoch,
        "ended_at": _iso(start.ended_at),
        "outcome": start.outcome,
        "reason": start.reason,
        "failed_batch": start.failed_batch,
    }


def _iso(time: datetime | None) -> str | None:
    return time.isoformat(timespec="seconds") if time else None
