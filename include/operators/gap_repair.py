"""The tasks of repair_gaps: an eye on the paused stream, indicators computed again, holes found and filled."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from include.market.event import AssetClass
from include.market.gaps import Asked, Span

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


def find_gaps() -> list[str]:
    """Bring the ledger of gaps in step with the tables; the tasks that have something to fill. Raises psycopg.Error."""
    from datetime import UTC, datetime

    from include.operations.gaps import look
    from include.operators.services import database_url
    from include.storage.gap_store import GapStore

    with GapStore(database_url("postgres_default")) as store:
        found = look(store, datetime.now(UTC))
    print(found.words())
    return [f"fill_{asset_class}_gaps" for asset_class in found.due]


def fill_gaps(asset_class: AssetClass) -> dict[str, Any]:
    """Ask the sources for the most valuable gaps of this class, within the quota that the polls leave.

    Raises SettingsError, PublishError, psycopg.Error.
    """
    from datetime import UTC, datetime

    from airflow.sdk import get_current_context

    from include.market.moments import micros
    from include.operations.gaps import repair_gaps
    from include.operators.history import Backfiller
    from include.operators.services import connected_settings
    from include.storage.gap_store import Due

    run_id = str(get_current_context()["dag_run"].run_id)
    with Backfiller(connected_settings(), asset_class) as backfiller:

        def asked(due: Due, spans: Sequence[Span]) -> Asked:
            wanted = {micros(minute) for span in spans for minute in span.each}
            done = backfiller.fill(run_id, due.symbol, due.day, Span(due.since, due.until), wanted)
            fetched = done.fetched
            said = (fetched.is_whole, fetched.is_unknown, fetched.reason)
            return Asked(fetched.calls, fetched.left, fetched.sources, *said)

        done = repair_gaps(backfiller.gaps, asset_class, asked, backfiller.history.spare, datetime.now(UTC))
    print(done.words())
    return done.as_dict()
