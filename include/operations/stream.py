"""Keep the Spark driver running: look, and take one step. Called by the DAG market_stream every minute."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import structlog

from include.errors import MarketDataError
from include.storage.lease import StreamState, read_stream_state

#: A driver starts a JVM, takes the lease and opens its queries; then its heartbeat shows.
START_SECONDS = 120
POLL_SECONDS = 1.0

log = structlog.get_logger(__name__)


class DriverFailed(MarketDataError):
    """The driver that was started did not come to life; the message has its last words."""

    retriable = True


@dataclass(frozen=True, slots=True)
class Launched:
    """A driver process that was just started, detached. `poll` is None while it runs."""

    pid: int
    poll: Callable[[], int | None]
    last_words: Callable[[], str]


def ensure_running(
    database_url: str,
    launch: Callable[[], Launched],
    clock: Callable[[], float] = time.monotonic,
    start_seconds: float = START_SECONDS,
) -> dict[str, Any]:
    """Start the driver if none is alive; a report for people either way.

    Idempotent: the lease, not this function, decides who may write, so two calls at once cost one
    useless process at worst. Raises DriverFailed with the driver's own reason.
    """
    state = read_stream_state(database_url)
    if state is not None and state.is_alive:
        return _report("running", state)
    epoch_before = state.epoch if state else 0
    launched = launch()
    log.info("driver started", pid=launched.pid)
    deadline = clock() + start_seconds
    while clock() < deadline:
        state = read_stream_state(database_url)
        if state is not None and state.is_alive and state.epoch > epoch_before and state.details:
            return _report("started", state)
        code = launched.poll()
        if code is not None:
            reason = (state.last_error if state else None) or launched.last_words()
            raise DriverFailed(f"the driver ended with code {code}: {reason}")
        time.sleep(POLL_SECONDS)
    raise DriverFailed(f"the driver does not come to life within {start_seconds:.0f} s: {launched.last_words()}")


def _report(step: str, state: StreamState) -> dict[str, Any]:
    return {
        "step": step,
        "epoch": state.epoch,
        "pid": state.pid,
        "lag": state.lag,
        "since": state.started_at.isoformat() if state.started_at else None,
        "queries": state.details.get("queries", {}),
        "spark_ui": state.details.get("spark_ui"),
    }
