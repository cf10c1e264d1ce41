"""The trade stream, kept alive or stopped as CRYPTO_STREAMING says."""

from __future__ import annotations

import time
from typing import Any

from include.operations.stream import TRADE_STREAM, Supervision, opened_store
from include.operations.supervision import open_start
from include.operators.detached import last_words, launch_module
from include.settings import Settings, required
from include.storage.supervision import SupervisionStore
from include.storage.trade_coverage import PostgresTradedMinutes

MODULE = "include.producers.trade_stream_main"
#: Trades of a minute's end may come so late.
GRACE_SECONDS = 10
SWITCHED_OFF = "CRYPTO_STREAMING is off"
FINISH = "complete what it began"


def trade_supervision(configuration: Settings, store: SupervisionStore) -> Supervision:
    """The trade stream on this machine."""
    log_file = configuration.state_dir / "logs" / "trades.log"
    return Supervision(
        TRADE_STREAM,
        store,
        launch=lambda _rebuild: launch_module(MODULE, log_file),
        last_words=lambda: last_words(log_file),
    )


def ensure_trade_stream(configuration: Settings) -> dict[str, Any]:
    """One step: start it, stop it, or nothing; a report for people. Called every minute.

    Switched off, it is stopped; and where it has left a minute half done, one is started once more that
    completes it from REST, for until then no bar takes its place. Raises psycopg.Error.
    """
    database = required(configuration.writer_database_url or configuration.database_url, "DATABASE_URL")
    with opened_store(database, TRADE_STREAM) as store:
        supervised = trade_supervision(configuration, store)
        going_on = open_start(store.read().starts)
        if configuration.crypto_streaming or (going_on is not None and going_on.cause == FINISH):
            return supervised.step()
        if supervised.stop(SWITCHED_OFF):
            return {"state": "stopping", "why": SWITCHED_OFF}
        if not _is_unfinished(database):
            return {"state": "off", "why": SWITCHED_OFF}
        # It ends by itself; should it run already, the lease refuses this one.
        return supervised.step(FINISH)


def _is_unfinished(database_url: str) -> bool:
    minutes = PostgresTradedMinutes(database_url)
    return minutes.has_open and time.time() > minutes.reserved_through / 1_000_000 + GRACE_SECONDS
