"""Keep a long-running application alive: look, decide, take one step. One mechanism for the Spark driver and
the trade stream; the DAG market_stream calls it for both, every minute. The decisions are in supervision.py.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from subprocess import SubprocessError
from typing import Any

import psutil
import structlog

from include.errors import MarketDataError
from include.operations import own_processes
from include.operations.backlog import read_backlog
from include.operations.own_processes import this_host
from include.operations.stream_report import report
from include.operations.supervision import (
    Action,
    Process,
    QueryBacklog,
    Rules,
    Seen,
    State,
    Verdict,
    decide,
    open_start,
    patience,
)
from include.storage import lease, trade_coverage
from include.storage.lease import StreamState
from include.storage.supervision import Record, Start, SupervisionStore

#: It finishes its batch and gives up its lease within this time, or is killed.
STOP_SECONDS = 40.0
#: What has given up its lease ends by itself within this time, or is killed before the next start.
LEAVE_SECONDS = 5.0
POLL_SECONDS = 0.5
#: Clear, start, look: more in one go would be going round in circles.
STEPS = 4

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Launched:
    """What was just started, detached: its process here, or what a cluster calls it."""

    pid: int | None
    tracked: str | None = None


@dataclass(frozen=True, slots=True)
class Application:
    """What is kept alive: its name in the lease table, and for people."""

    name: str
    title: str
    rules: Rules = field(default_factory=Rules)


SPARK_DRIVER = Application(lease.APPLICATION, "driver")
TRADE_STREAM = Application(trade_coverage.APPLICATION, "trade stream", Rules(start_seconds=60.0))


def dice(application: str) -> Callable[[int], float]:
    """The chance that a start's back-off takes: the same for everybody who looks."""
    return lambda start: random.Random(f"{application}:{start}").random()


def seen(record: Record, backlog: dict[str, QueryBacklog] | None = None) -> Seen:
    """The record with what this machine knows of its processes."""
    owner = own_processes.owner_process(record.lease)
    return Seen(record, owner, own_processes.starter_process(open_start(record.starts)), backlog)


@dataclass(frozen=True, slots=True)
class Supervision:
    """One application, its record, and the means to start it.

    `launch(rebuild)` starts it detached and returns at once; `last_words` are of its log. `on_this_host` is False
    where a cluster runs it: then only the lease says that it lives.
    """

    application: Application
    store: SupervisionStore
    launch: Callable[[bool], Launched]
    last_words: Callable[[], str] = lambda: ""
    backlog: Callable[[datetime, float], dict[str, QueryBacklog] | None] = lambda now, seconds: None
    on_this_host: bool = True

    def look(self, *, sampling: bool = False) -> Seen:
        """What is. The lag is measured where the application runs; with `sampling` that is kept beside earlier ones."""
        record = self.store.read()
        held = record.lease
        if held is None or held.owner is None or not held.details:
            return seen(record)
        rules = self.application.rules
        backlog = self.backlog(record.now, patience(held.details, rules))
        if backlog is not None and sampling:
            lag = sum(query.behind or 0 for query in backlog.values())
            held.lag_samples[:] = self.store.add_lag_sample(held.lag_samples, record.now, lag)
        return seen(record, backlog)

    def judge(self, *, sampling: bool = False) -> tuple[Seen, Verdict]:
        """What is, and what is to be done about it."""
        now = self.look(sampling=sampling)
        return now, decide(now, dice(self.application.name), self.application.rules)

    def step(self, cause: str | None = None, *, rebuild: bool = False) -> dict[str, Any]:
        """Do what is to be done now, without waiting for its effect; the report.

        Idempotent. While another step is being taken, by a retry or by another DAG, nothing is done.
        """
        with self.store.alone() as alone:
            now, verdict = self.judge(sampling=alone)
            for _ in range(STEPS):
                if not alone or verdict.action is Action.NOTHING:
                    break
                log.info(f"{self.application.title}: {verdict.action}", state=verdict.state, why=verdict.why)
                if verdict.action is Action.START:
                    self._start(now.record, cause or verdict.why, rebuild=rebuild)
                elif verdict.action is Action.STOP:
                    self._stop(now, verdict.why)
                else:
                    self._clear(now, verdict)
                now, verdict = self.judge()
        return report(self.application.name, now, verdict)

    def stop(self, reason: str) -> bool:
        """Let it finish its batch and leave; killed after STOP_SECONDS. Whether there was one."""
        with self.store.alone() as alone:
            now = seen(self.store.read())
            held = now.record.lease
            is_there = bool(held and held.owner) or open_start(now.record.starts) is not None
            if alone and is_there:
                self._stop(now, reason)
        return is_there

    def _start(self, record: Record, cause: str, *, rebuild: bool) -> None:
        self._end_remains(record.starts[0] if record.starts else None, record.lease, LEAVE_SECONDS)
        host = this_host() if self.on_this_host else None
        start = self.store.add_start(f"{cause}, --rebuild" if rebuild else cause, host)
        try:
            launched = self.launch(rebuild)
        except (MarketDataError, OSError, SubprocessError) as failure:
            log.warning(f"{self.application.title} could not be started", reason=str(failure))
            self.store.end_start(start, "not started", str(failure))
            return
        pid = launched.pid if self.on_this_host else None
        self.store.launched(start, pid, lease.process_started(pid), launched.tracked)
        log.info(f"{self.application.title} started", pid=pid, tracked=launched.tracked, cause=cause)

    def _clear(self, now: Seen, verdict: Verdict) -> None:
        """Kill what is left on this machine, expire the lease, record the end."""
        held, start = now.record.lease, open_start(now.record.starts)
        if verdict.outcome == "refused":
            assert start is not None  # decide's word
            self.store.end_start(start.id, "refused", verdict.why)
            return
        reason = verdict.why
        if verdict.outcome == "not started" and (words := self.last_words()):
            reason = f"{reason}; its last words: {words}"
        self._end_remains(start, held)
        if held is not None and held.owner is not None:
            self.store.expire(held.epoch, reason)
        if start is not None:
            self.store.end_start(start.id, verdict.outcome, reason)

    def _stop(self, now: Seen, reason: str) -> None:
        held, start = now.record.lease, open_start(now.record.starts)
        owns = held is not None and held.owner is not None
        if held is not None and owns:
            self.store.ask_to_stop(held.epoch, reason)
            own_processes.ask_to_end(_owner(now))
        elif start is not None:
            own_processes.ask_to_end(own_processes.session_members(start.pid, start.process_started))
        deadline = time.monotonic() + STOP_SECONDS
        while self._is_there(now) and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
        killed = self._end_remains(start, held, LEAVE_SECONDS)
        left = self.store.read().lease
        if held is not None and left is not None and left.owner is not None and left.epoch == held.epoch:
            if now.owner is Process.UNKNOWN:
                log.warning(f"{self.application.title} of another machine is asked to stop", owner=held.owner)
                return
            self.store.expire(held.epoch, reason)
        if start is not None:
            how = f"{reason}; killed after {STOP_SECONDS:.0f} s" if killed else reason
            self.store.end_start(start.id, "stopped", how)

    def _is_there(self, before: Seen) -> bool:
        """Whether the owner, or what was started, of that look is still there."""
        now = seen(self.store.read())
        held, was = now.record.lease, before.record.lease
        if was is not None and was.owner is not None:
            same = held is not None and held.owner is not None and held.epoch == was.epoch
            return same and now.owner is not Process.GONE
        return now.starter is Process.ALIVE

    def _end_remains(self, start: Start | None, held: StreamState | None, patience_seconds: float = 0) -> int:
        """Kill what is left of a start on this machine, after waiting for it to leave; how many there were."""
        owner = (held.pid, held.process_started) if held else (None, None)
        left: list[psutil.Process] = []
        if start is not None and start.host == this_host():
            left = own_processes.session_members(start.pid, start.process_started, owner)
        if not left and own_processes.owner_process(held) is Process.ALIVE:
            # Started by hand: its session is the person's shell.
            left = own_processes.process_of(*owner)
        if patience_seconds:
            left = psutil.wait_procs(left, timeout=patience_seconds)[1]
        return own_processes.kill_all(left)


def _owner(now: Seen) -> list[psutil.Process]:
    """The lease's process, if it is one of this machine."""
    held = now.record.lease
    if held is None or now.owner is not Process.ALIVE:
        return []
    return own_processes.process_of(held.pid, held.process_started)


def kafka_backlog(database_url: str, servers: str) -> Callable[[datetime, float], dict[str, QueryBacklog] | None]:
    """For `Supervision.backlog`."""
    return lambda now, seconds: read_backlog(database_url, servers, now, seconds)


@contextmanager
def opened_store(database_url: str, application: Application) -> Iterator[SupervisionStore]:
    store = SupervisionStore(database_url, application.name)
    try:
        yield store
    finally:
        store.close()


def halted(told: dict[str, Any]) -> str:
    """The line for people when a report needs one of them; empty otherwise."""
    if told["state"] not in (State.BROKEN, State.BLOCKED):
        return ""
    until = f"; tried again at {told['until']}" if told["until"] else ""
    return f"{told['state']}: {told['why']}{until}. To start it now: trigger market_stream with action = start"
