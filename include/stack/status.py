"""The state of a stack in rows, for people and for programs."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

import psycopg

from include.settings import required
from include.stack.control import Stack
from include.stack.layout import last_log_line
from include.stack.processes import session_memory, tree_memory
from include.stack.services import Service
from include.storage.lease import APPLICATION, read_stream_state
from include.storage.trade_coverage import APPLICATION as TRADES_APPLICATION


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
    """A long-running process that Airflow keeps alive; `application` is its name in the lease table."""

    name: str
    application: str
    dag_id: str
    port: int | None


def _detached(stack: Stack) -> list[_Detached]:
    chosen = stack.plan.settings
    found = [_Detached("stream", APPLICATION, "market_stream", chosen.ports.spark_ui)]
    if chosen.crypto_streaming:
        found.append(_Detached("trades", TRADES_APPLICATION, "market_stream", None))
    return found


def _detached_row(stack: Stack, detached: _Detached) -> Row:
    url = required(stack.plan.settings.database_url, "DATABASE_URL")
    try:
        state = read_stream_state(url, detached.application)
    except psycopg.Error:
        return Row(detached.name, "unknown", False, None, detached.port, 0, 0, "PostgreSQL does not answer")
    if state is None:
        hint = f"not started yet: the DAG {detached.dag_id} starts it"
        return Row(detached.name, "stopped", False, None, detached.port, 0, 0, hint)
    alive = state.is_alive
    return Row(
        service=detached.name,
        state="running" if alive else "stopped",
        healthy=alive,
        pid=state.pid if alive else None,
        port=detached.port,
        uptime_seconds=int(time.time() - state.started_at.timestamp()) if alive and state.started_at else 0,
        memory_bytes=session_memory(state.pid) if alive and state.pid else 0,
        last_error="" if alive else (state.last_error or ""),
        lag=state.lag,
    )
