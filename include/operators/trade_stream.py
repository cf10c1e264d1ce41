"""The trade stream, kept alive or stopped as CRYPTO_STREAMING says."""

from __future__ import annotations

import time
from typing import Any

from include.operations.stream import TRADE_STREAM, ensure_running, ensure_stopped
from include.operators.detached import launch_module
from include.settings import Settings, required
from include.storage.trade_coverage import PostgresTradedMinutes

MODULE = "include.producers.trade_stream_main"
START_SECONDS = 60.0
#: Trades of a minute's end may come so late.
GRACE_SECONDS = 10


def ensure_trade_stream(configuration: Settings) -> dict[str, Any]:
    """One step: start it, stop it, or nothing; a report for people. Called every minute.

    Switched off, it is stopped; and where it has left a minute half done, one is started once more that
    completes it from REST, for until then no bar takes its place. Raises DriverFailed.
    """
    database = required(configuration.writer_database_url or configuration.database_url, "DATABASE_URL")
    log_file = configuration.state_dir / "logs" / "trades.log"
    if configuration.crypto_streaming:
        return ensure_running(
            database, lambda: launch_module(MODULE, log_file), start_seconds=START_SECONDS, application=TRADE_STREAM
        )
    stopped = ensure_stopped(database, TRADE_STREAM)
    if stopped["step"] == "stopped" and _is_unfinished(database):
        # It ends by itself; should it run already, the lease refuses this one.
        return {"step": "finishing", "pid": launch_module(MODULE, log_file).pid}
    return stopped


def _is_unfinished(database_url: str) -> bool:
    minutes = PostgresTradedMinutes(database_url)
    return minutes.has_open and time.time() > minutes.reserved_through / 1_000_000 + GRACE_SECONDS
