"""The state of a stack in rows, for people and for programs."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any

import psycopg

from include.operations.stream import (
    SPARK_DRIVER,
    TRADE_STREAM,
    Application,
    Launched,
    Supervision,
    kafka_backlog,
    opened_store,
)
from include.operations.stream_report import report
from include.operations.supervision import State
from include.settings import required
from include.stack.control import Stack
from include.stack.layout import last_log_line
from include.stack.processes import session_memory, tree_memory
from include.stack.services import Service


@dataclass(frozen=True, slots=True)
class Row:
    """One service. `uptime_seconds` and `memory_bytes` are 0 for one that does not run."""

    service: str
    state: str
    healthy: bool
    pid: int | None
    port: int | None
    uptime_seconds: int
    memory_bytes: int
    last_error: str
    lag: int | None = None

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def rows(stack: Stack) -> list[Row]:
    """One row a service, and one for each process that Airflow keeps alive."""
    processes = stack.supervisor.processes()
    with ThreadPoolExecutor(len(stack.services)) as pool:
        found = list(pool.map(lambda service: _row(stack, service, processes), stack.services))
    return [*found, *(_detached_row(stack, detached) for detached in _detached(stack))]


def _row(stack: Stack, service: Service, processes: dict[str, dict[str, Any]]) -> Row:
    facts = processes.get(service.name)
    if facts is None:
        return Row(service.name, "stopped", False, None, service.port, 0, 0, "")
    state = facts["statename"].lower()
    reason = stack.why_unwell(service) if state == "running" else facts.get("spawnerr", "")
    if state not in ("running", "stopped") and not reason:
        reason = last_log_line(stack.plan.layout.log(service.name))
    runs = state == "running"
    return Row(
        service=service.name,
        state=state,
        healthy=runs and not reason,
        pid=facts["pid"] or None,
        port=service.port,
        uptime_seconds=facts["now"] - facts["start"] if runs else 0,
        memory_bytes=tree_memory(facts["pid"]) if runs else 0,
        last_error=reason,
    )


@dataclass(frozen=True, slots=True)
class _Detached:
    """A long-running process that Airflow keeps alive."""

    name: str
    application: Application
    port: int | None


def _detached(stack: Stack) -> list[_Detached]:
    chosen = stack.plan.settings
    found = [_Detached("stream", SPARK_DRIVER, chosen.ports.spark_ui)]
    if chosen.crypto_streaming:
        found.append(_Detached("trades", TRADE_STREAM, None))
    return found


def _detached_row(stack: Stack, detached: _Detached) -> Row:
    try:
        told = _told(stack, detached.application)
    except psycopg.Error:
        return Row(detached.name, "unknown", False, None, detached.port, 0, 0, "PostgreSQL does not answer")
    since = datetime.fromisoformat(told["since"]) if told["since"] else None
    until = f"; tried again at {told['until']}" if told["until"] else ""
    return Row(
        service=detached.name,
        state=told["state"],
        healthy=told["healthy"],
        pid=told["pid"],
        port=detached.port,
        uptime_seconds=int(time.time() - since.timestamp()) if since else 0,
        memory_bytes=session_memory(told["pid"]) if told["pid"] else 0,
        # What is well needs no words, but for a lag that grows.
        last_error="" if told["state"] == State.RUNNING else f"{told['why']}{until}",
        lag=told["lag"],
    )


def _told(stack: Stack, application: Application) -> dict[str, Any]:
    """The supervisor's own look, as the writer: PostgreSQL shows a role only its own sessions."""
    chosen = stack.plan.settings
    url = required(chosen.writer_database_url or chosen.database_url, "WRITER_DATABASE_URL")
    servers = required(chosen.kafka_bootstrap_servers, "KAFKA_BOOTSTRAP_SERVERS")
    with opened_store(url, application) as store:
        supervised = Supervision(application, store, launch=_never)
        if application is SPARK_DRIVER:
            supervised = replace(supervised, backlog=kafka_backlog(url, servers))
        return report(application.name, *supervised.judge())


def _never(_rebuild: bool) -> Launched:
    raise AssertionError("a look starts nothing")
