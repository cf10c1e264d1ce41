"""Keep a long-running application alive: look, and take one step. One mechanism for the Spark driver and
the trade stream; the DAG market_stream calls it for both, every minute.
"""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import psutil
import structlog

from include.errors import MarketDataError
from include.storage import lease, trade_coverage
from include.storage.lease import StreamState, read_stream_state

#: An application starts, takes the lease and opens what it works with; then its heartbeat shows.
START_SECONDS = 120
POLL_SECONDS = 1.0
#: A process that took the lease was there before; clocks of the database and of this machine may differ so much.
CLOCKS_SECONDS = 5.0

log = structlog.get_logger(__name__)


class DriverFailed(MarketDataError):
    """The application that was started did not come to life; the message has its last words."""

    retriable = True


@dataclass(frozen=True, slots=True)
class Launched:
    """A process that was just started, detached. `poll` is None while it runs."""

    pid: int
    poll: Callable[[], int | None]
    last_words: Callable[[], str]


@dataclass(frozen=True, slots=True)
class Application:
    """What is kept alive: its name in the lease table and for people, and what its report shows beside the rest."""

    name: str
    title: str
    figures: Callable[[StreamState], dict[str, Any]]


def _query_figures(state: StreamState) -> dict[str, Any]:
    return {
        "lag": state.lag,
        "queries": state.details.get("queries", {}),
        "spark_ui": state.details.get("spark_ui"),
    }


SPARK_DRIVER = Application(lease.APPLICATION, "driver", _query_figures)
TRADE_STREAM = Application(trade_coverage.APPLICATION, "trade stream", lambda state: dict(state.details))


def ensure_running(
    database_url: str,
    launch: Callable[[], Launched],
    clock: Callable[[], float] = time.monotonic,
    start_seconds: float = START_SECONDS,
    application: Application = SPARK_DRIVER,
) -> dict[str, Any]:
    """Start the application if none is alive; a report for people either way.

    Idempotent: the lease, not this function, decides who may write, so two calls at once cost one
    useless process at worst. Raises DriverFailed with the application's own reason.
    """
    state = read_stream_state(database_url, application.name)
    if state is not None and state.is_alive:
        return _report("running", state, application)
    epoch_before = state.epoch if state else 0
    launched = launch()
    title = application.title
    log.info(f"{title} started", pid=launched.pid)
    deadline = clock() + start_seconds
    while clock() < deadline:
        state = read_stream_state(database_url, application.name)
        if state is not None and state.is_alive and state.epoch > epoch_before and state.details:
            return _report("started", state, application)
        code = launched.poll()
        if code is not None:
            reason = (state.last_error if state else None) or launched.last_words()
            raise DriverFailed(f"the {title} ended with code {code}: {reason}")
        time.sleep(POLL_SECONDS)
    raise DriverFailed(f"the {title} does not come to life within {start_seconds:.0f} s: {launched.last_words()}")


def ensure_stopped(database_url: str, application: Application) -> dict[str, Any]:
    """Ask the application to stop if it is alive; it finishes what it does and gives up its lease by itself."""
    state = read_stream_state(database_url, application.name)
    if state is None or not state.is_alive or state.pid is None:
        return {"step": "stopped"}
    if is_owner_here(state):
        os.kill(state.pid, signal.SIGTERM)
        log.info(f"{application.title} asked to stop", pid=state.pid)
        return _report("stopping", state, application)
    # Of another machine, or gone: its lease ends by itself.
    return _report("elsewhere", state, application)


def is_owner_here(state: StreamState) -> bool:
    """Whether the lease's process is one of this machine, and not another that got its number since."""
    if state.pid is None or state.started_at is None or state.owner != f"{socket.gethostname()}:{state.pid}":
        return False
    try:
        return psutil.Process(state.pid).create_time() <= state.started_at.timestamp() + CLOCKS_SECONDS
    except psutil.NoSuchProcess:
        return False


def _report(step: str, state: StreamState, application: Application) -> dict[str, Any]:
    return {
        "step": step,
        "epoch": state.epoch,
        "pid": state.pid,
        "since": state.started_at.isoformat() if state.started_at else None,
        **application.figures(state),
    }
