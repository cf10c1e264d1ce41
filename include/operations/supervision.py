"""What is to be done for a long-running application, from what was seen. Pure: literal in, literal out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from include.operations.restarts import BreakerOpen, Dice, RestartRules, SameBatch, next_start
from include.storage.lease import STALE_AFTER_SECONDS, StreamState
from include.storage.supervision import Outcome, Record, Start


class Process(StrEnum):
    """What this machine knows of a process."""

    ALIVE = "alive"
    #: It ran here, and is no more.
    GONE = "gone"
    #: It runs on another machine, or nothing is known of it: the lease alone says.
    UNKNOWN = "unknown"


class State(StrEnum):
    """The words that people read."""

    RUNNING = "running"
    BEHIND = "running, falling behind"
    STARTING = "starting"
    STOPPING = "stopping"
    STOPPED = "stopped on request"
    NOT_STARTED = "not started"
    WAITING = "waiting to restart"
    BROKEN = "broken: it keeps ending"
    BLOCKED = "blocked by one batch"
    STUCK = "stuck: alive, without progress"
    DEAD = "dead"


HEALTHY = (State.RUNNING, State.BEHIND)


class Action(StrEnum):
    NOTHING = "nothing"
    START = "start"
    STOP = "stop"
    #: End what is left of a driver that is over, and record how it ended.
    CLEAR = "clear"


@dataclass(frozen=True, slots=True)
class QueryBacklog:
    """What one query has not read. `overdue`: some of it has waited for longer than the query may be silent."""

    behind: int | None
    overdue: bool
    last_batch_at: datetime | None


@dataclass(frozen=True, slots=True)
class Seen:
    """One look. `owner` is the process of the lease, `starter` the one that the newest open start launched.

    `backlog` by query; None where it was not looked at, or where Kafka is away.
    """

    record: Record
    owner: Process
    starter: Process
    backlog: dict[str, QueryBacklog] | None = None


@dataclass(frozen=True, slots=True)
class Rules:
    stale_seconds: float = STALE_AFTER_SECONDS
    #: From its launch until its queries run; also the longest silence of one that starts.
    start_seconds: float = 120.0
    stuck_floor_seconds: float = 60.0
    stuck_factor: float = 5.0
    rising_seconds: float = 300.0
    restarts: RestartRules = field(default_factory=RestartRules)


@dataclass(frozen=True, slots=True)
class Verdict:
    """The state in words, why, and the one step to take. `until`: when it may change by itself."""

    state: State
    action: Action = Action.NOTHING
    why: str = ""
    until: datetime | None = None
    #: For CLEAR.
    outcome: Outcome = "died"

    @property
    def needs_a_person(self) -> bool:
        return self.state in (State.BROKEN, State.BLOCKED)


def decide(seen: Seen, dice: Dice, rules: Rules) -> Verdict:
    """The step to take. A start comes only when the one before is over and nobody owns the lease."""
    lease, now = seen.record.lease, seen.record.now
    if lease is not None and lease.owner is not None:
        return _with_owner(seen, lease, rules)
    start = open_start(seen.record.starts)
    if start is not None:
        return _without_lease_yet(start, seen, rules)
    if lease is not None and lease.desired_state == "stopped":
        return Verdict(State.STOPPED, why=_wish(lease))
    return _restart(seen.record, now, dice, rules)


def open_start(starts: Sequence[Start]) -> Start | None:
    """The newest start, if it has not ended."""
    return starts[0] if starts and starts[0].ended_at is None else None


def patience(details: dict[str, Any], rules: Rules) -> float:
    """Seconds that a query with unread records may be without a batch: more where batches take long."""
    queries = details.get("queries", {}).values()
    longest = max((query.get("batch_seconds_p95") or 0.0 for query in queries), default=0.0)
    return max(rules.stuck_floor_seconds, rules.stuck_factor * longest)


def is_rising(samples: Sequence[dict[str, Any]], rules: Rules) -> bool:
    """The lag grew from run to run for `rising_seconds`. Samples are a minute apart, oldest first."""
    rising = [sample for sample in samples[-1:]]
    for earlier, later in zip(samples[-2::-1], samples[::-1], strict=False):
        if earlier["lag"] >= later["lag"]:
            break
        rising.insert(0, earlier)
    if len(rising) < 2:
        return False
    span = datetime.fromisoformat(rising[-1]["at"]) - datetime.fromisoformat(rising[0]["at"])
    # Runs come a little early or late.
    return span >= timedelta(seconds=rules.rising_seconds - 10)


def _with_owner(seen: Seen, lease: StreamState, rules: Rules) -> Verdict:
    now = seen.record.now
    start = open_start(seen.record.starts)
    if start is not None and start.epoch is None and seen.starter is Process.GONE:
        return Verdict(State.RUNNING, Action.CLEAR, "another one had taken the lease", outcome="refused")
    if reason := _why_dead(seen, lease, rules):
        return Verdict(State.DEAD, Action.CLEAR, reason)
    if lease.desired_state == "stopped":
        return Verdict(State.STOPPING, Action.STOP, _wish(lease))
    if not lease.details:
        return Verdict(State.STARTING, why="it has the lease, its queries do not run yet")
    if reason := _why_stuck(seen, lease, rules):
        return Verdict(State.STUCK, Action.CLEAR, reason, outcome="stuck")
    if is_rising(lease.lag_samples, rules):
        first, last = lease.lag_samples[0], lease.lag_samples[-1]
        return Verdict(State.BEHIND, why=f"the lag grew from {first['lag']:,} to {last['lag']:,} records")
    if lease.started_at is not None and seen.record.starts:
        return Verdict(State.RUNNING, why=f"for {_span(now - lease.started_at)}")
    return Verdict(State.RUNNING)


def _why_dead(seen: Seen, lease: StreamState, rules: Rules) -> str:
    if seen.owner is Process.GONE:
        return f"its process {lease.pid} is gone"
    # Until its queries run it does not beat. And while PostgreSQL was away nobody could.
    limit = rules.stale_seconds if lease.details else rules.start_seconds
    heard = max(lease.heartbeat_at or seen.record.database_since, seen.record.database_since)
    silent = (seen.record.now - heard).total_seconds()
    if silent <= limit:
        return ""
    kind = "frozen: its process is there" if seen.owner is Process.ALIVE else "dead or cut off"
    return f"{kind}, without a heartbeat for {silent:.0f} s"


def _why_stuck(seen: Seen, lease: StreamState, rules: Rules) -> str:
    # One that waits for PostgreSQL, for a lock or for a slow statement, is not stuck: its time-outs go by.
    if seen.backlog is None or seen.record.busy:
        return ""
    limit = patience(lease.details, rules)
    for name, query in seen.backlog.items():
        times = [query.last_batch_at, lease.started_at, seen.record.database_since]
        since = max(time for time in times if time is not None)
        silent = (seen.record.now - since).total_seconds()
        if query.overdue and silent > limit:
            behind = "records" if query.behind is None else f"{query.behind:,} records"
            return f"{name} has {behind} to read, and no batch for {silent:.0f} s (it may take {limit:.0f} s)"
    return ""


def _without_lease_yet(start: Start, seen: Seen, rules: Rules) -> Verdict:
    """Started, and not the owner of the lease: not yet, or not any more."""
    lease, now = seen.record.lease, seen.record.now
    if start.epoch is not None:
        return Verdict(State.DEAD, Action.CLEAR, "it gave up its lease without a word")
    if lease is not None and lease.desired_state == "stopped":
        return Verdict(State.STOPPING, Action.STOP, _wish(lease))
    if seen.starter is Process.GONE:
        return Verdict(State.DEAD, Action.CLEAR, "it ended before it took the lease", outcome="not started")
    age = (now - start.started_at).total_seconds()
    if age > rules.start_seconds:
        why = f"it does not come to life within {rules.start_seconds:.0f} s"
        return Verdict(State.DEAD, Action.CLEAR, why, outcome="not started")
    return Verdict(State.STARTING, why=f"{start.cause}, {age:.0f} s ago")


def _restart(record: Record, now: datetime, dice: Dice, rules: Rules) -> Verdict:
    lease = record.lease
    allowed = next_start(record.starts, now, lease.forgiven_at if lease else None, dice, rules.restarts)
    last = record.starts[0] if record.starts else None
    ended = f"{last.outcome}: {last.reason or 'no reason given'}" if last else ""
    if isinstance(allowed, BreakerOpen):
        why = f"{allowed.starts} starts within {rules.restarts.breaker_seconds / 60:.0f} min ended badly; last {ended}"
        return Verdict(State.BROKEN, why=why, until=allowed.until)
    if isinstance(allowed, SameBatch):
        batch = allowed.batch
        why = (
            f"batch {batch['batch_id']} of {batch['query']} failed {allowed.times} times in a row, "
            f"offsets {batch.get('offsets')}; last {ended}"
        )
        return Verdict(State.BLOCKED, why=why)
    if allowed.at > now:
        return Verdict(State.WAITING, why=f"{allowed.streak} bad ends in a row; last {ended}", until=allowed.at)
    if last is None:
        return Verdict(State.NOT_STARTED, Action.START, "first start")
    state = State.STOPPED if last.outcome == "stopped" else State.DEAD
    return Verdict(state, Action.START, f"the last one {ended}")


def _wish(lease: StreamState) -> str:
    return f"stopped by {lease.desired_by or 'a person'}: {lease.desired_why or 'no reason given'}"


def _span(time: timedelta) -> str:
    minutes, seconds = divmod(int(time.total_seconds()), 60)
    return f"{minutes} min {seconds} s" if minutes else f"{seconds} s"
