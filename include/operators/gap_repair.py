"""The tasks of repair_gaps: an eye on the paused stream, and repairs by the batch recomputation."""

from __future__ import annotations

from typing import Any

PAUSED = "the DAG market_stream is paused"
REPAIR_SECONDS = 540.0


def stop_stream_if(is_paused: bool) -> dict[str, Any]:
    """Stop driver and trade stream if nobody looks after them; what is wanted stays, so unpausing starts them again.

    Each finishes what it does first. Raises psycopg.Error.
    """
    if not is_paused:
        return {"paused": False}
    from include.operations.stream import SPARK_DRIVER, TRADE_STREAM, Launched, Supervision, opened_store
    from include.operators.services import database_url

    def never(_rebuild: bool) -> Launched:
        raise AssertionError("a stop starts nothing")

    stopped = []
    for application in (TRADE_STREAM, SPARK_DRIVER):
        with opened_store(database_url("postgres_default"), application) as store:
            if Supervision(application, store, launch=never).stop(PAUSED):
                stopped.append(application.title)
    return {"paused": True, "stopped": stopped}


def repair() -> dict[str, Any]:
    """Indicators that late events have left wrong, computed again. Raises MarketDataError, psycopg.Error."""
    from include.operations.repairs import repair_indicators
    from include.operators.detached import run_module
    from include.operators.services import database_url
    from include.settings import settings

    log_file = settings().state_dir / "logs" / "recompute.log"
    return repair_indicators(
        database_url("postgres_default"),
        lambda: run_module("spark_jobs.recompute", ["--repairs"], log_file, REPAIR_SECONDS),
    )
