"""The tasks of backfill_bars: its form, its days and symbols, one of them, and the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import Asset, ExceptionRetryPolicy, Param, RetryAction, RetryRule, get_current_context

from include.market.event import ASSET_CLASSES, AssetClass
from include.operators.forms import (
    AUTOMATIC,
    REFUSED_FORM,
    chosen_source,
    collected_symbols,
    source_param,
    symbols_param,
)
from include.operators.ingestion import FIRST
from include.operators.pools import pool_of

if TYPE_CHECKING:
    from include.operations.backfill import DayOf

#: What a run has brought; its metadata has the counts of each symbol.
BARS = Asset("market_bars")
SOURCES = ("yahoo", "alpha_vantage", "binance")


def backfill_params() -> dict[str, Param]:
    """The form; a scheduled run leaves all of it as it is."""
    day: dict[str, Any] = {"type": ["null", "string"], "format": "date"}
    return {
        "symbols": symbols_param(collected_symbols()),
        "source": source_param(SOURCES),
        "interval": Param("1m", type="string", enum=["1m"], title="Interval", description="Length of the bars."),
        "start": Param(
            None, **day, title="First day (UTC)", description="None: the run's own data interval, a day before it."
        ),
        "end": Param(None, **day, title="Last day (UTC)", description="Included. None: today, if there is a first."),
        "dry_run": Param(
            False,
            type="boolean",
            title="Dry run",
            description="Says which bars are missing and what fetching would cost in calls; asks and changes nothing.",
        ),
    }


def part_task(asset_class: AssetClass) -> dict[str, Any]:
    """Arguments of the mapped task: one symbol and day, in the pool of the source that is asked first."""
    return {
        "pool": pool_of(FIRST[asset_class]),
        "map_index_template": "{{ part_name }}",
        "max_active_tis_per_dagrun": 2,
        "execution_timeout": timedelta(minutes=10),
        "retries": 3,
        "retry_delay": timedelta(seconds=60),
        "retry_policy": ExceptionRetryPolicy(
            rules=[
                REFUSED_FORM,
                RetryRule(
                    exception="include.errors.EmptyRange",
                    action=RetryAction.FAIL,
                    reason="No source keeps bars for so long.",
                ),
                RetryRule(
                    exception="include.storage.history_store.OtherShares",
                    action=RetryAction.FAIL,
                    reason="The bars look adjusted for a split that is not known yet.",
                ),
                RetryRule(
                    exception="include.storage.archive_catalogue.DayIsCold",
                    action=RetryAction.FAIL,
                    reason="The day is only in the archive: bring it back first.",
                ),
            ]
        ),
    }


def plan(asset_class: AssetClass) -> list[dict[str, str]]:
    """`{symbol, day}` of each mapped task of this class; in a dry run none, and in the log what they would do.

    Raises SettingsError, psycopg.Error.
    """
    from include.errors import SettingsError
    from include.operations import backfill
    from include.operators.services import connected_settings, database_url
    from include.sources.base import MINUTE_BARS
    from include.sources.registry import chain
    from include.storage.gap_store import GapStore

    context, chosen = get_current_context(), connected_settings()
    params: Mapping[str, Any] = context["params"]
    configured = {name: getattr(chosen, f"{name}_symbols") for name in ASSET_CLASSES}
    backfill.refuse_unknown(params["symbols"], [symbol for some in configured.values() for symbol in some])
    givers = {
        name: [source.declaration.name for source, _ in chain(name, MINUTE_BARS, chosen)] for name in ASSET_CLASSES
    }
    if params["source"] != AUTOMATIC and not any(params["source"] in names for names in givers.values()):
        raise SettingsError(f"{params['source']} gives no minute bars here: its key or its plan does not include them")
    if params["source"] not in (AUTOMATIC, *givers[asset_class]):
        return []
    start, end = context.get("data_interval_start"), context.get("data_interval_end")
    interval = (start, end) if start is not None and end is not None and end > start else None
    wanted = backfill.days(_day(params["start"]), _day(params["end"]), interval, datetime.now(UTC))
    symbols = backfill.chosen(params["symbols"], configured[asset_class])
    with GapStore(database_url("postgres_default")) as store:
        sessions = store.session_days(asset_class, wanted[0], wanted[-1])
        if context["dag_run"].run_type == "scheduled":
            # It completes the days that were collected; what lies before is for who asks for it.
            symbols = store.collected_before(symbols, interval[1] if interval else datetime.now(UTC))
    found = backfill.parts(symbols, wanted, sessions)
    if params["dry_run"]:
        _preview(asset_class, found)
        return []
    return [{"symbol": each.symbol, "day": f"{each.day}"} for each in found]


def _preview(asset_class: AssetClass, found: Sequence[DayOf]) -> None:
    """What is missing and what fetching it costs, in the log and as the XCom `preview`."""
    from include.operators.history import Backfiller
    from include.operators.services import connected_settings

    context = get_current_context()
    with Backfiller(connected_settings(), asset_class, chosen_source(context["params"])) as backfiller:
        previews = [backfiller.preview(part.symbol, part.day) for part in found]
        spare = backfiller.history.spare() if found else 0
    for each in previews:
        holes = f": {', '.join(each['spans'][:20])}" + (" ..." if len(each["spans"]) > 20 else "")
        print(
            f"{each['symbol']} {each['day']}: {each['missing']} minutes are missing{holes if each['missing'] else ''}"
        )
    minutes, calls = (sum(each[name] for each in previews) for name in ("missing", "calls"))
    print(f"In all {minutes:,} minutes of {len(found)} symbols and days; fetching them costs {calls:,} calls", end="")
    print(f", of which {spare:,} may be made now" if calls else "")
    context["ti"].xcom_push(key="preview", value={"minutes": minutes, "calls": calls, "parts": previews})


def fill(asset_class: AssetClass, part: Mapping[str, str]) -> dict[str, Any]:
    """One symbol and day: what was done.

    Raises SettingsError, DayIsCold, PublishError, MarketDataError where no source could say, psycopg.Error.
    """
    from include.errors import EmptyRange, Transient
    from include.operators.history import Backfiller
    from include.operators.services import connected_settings

    context = get_current_context()
    context["part_name"] = f"{part['symbol']} {part['day']}"  # type: ignore[typeddict-unknown-key]
    symbol, day = part["symbol"], date.fromisoformat(part["day"])
    with Backfiller(connected_settings(), asset_class, chosen_source(context["params"])) as backfiller:
        done = backfiller.fill(str(context["dag_run"].run_id), symbol, day)
    if done.fetched.is_too_old and done.stored.missing_before:
        raise EmptyRange(f"{symbol} {day}: {done.fetched.reason}")
    if not done.fetched.sources and done.stored.missing_before:
        raise Transient(f"{symbol} {day}: no source could say: {done.fetched.reason}")
    return done.as_dict()


def report(stock: Any, crypto: Any) -> dict[str, Any]:
    """The run's counts by symbol: in the log, as metadata of the asset, and in the table.

    Raises AirflowFailException where a symbol and day is not done: which, and why, its own log says.
    """
    from airflow.sdk.exceptions import AirflowFailException

    from include.operations.backfill import by_symbol, table
    from include.operators.services import database_url
    from include.storage.gap_store import GapStore

    context = get_current_context()
    planned = [part for parts in (stock, crypto) for part in parts or ()]
    if context["params"]["dry_run"]:
        return {"dry_run": True}
    with GapStore(database_url("postgres_default")) as store:
        rows = store.results(str(context["dag_run"].run_id))
    counts = by_symbol(rows)
    print(table(counts))
    context["outlet_events"][BARS].extra = {"symbols": dict[str, Any](counts)}
    if stock is None or crypto is None:
        raise AirflowFailException("nothing was planned: the logs of plan_stocks and plan_crypto say why")
    done = {(row["symbol"], f"{row['day']}") for row in rows if row["is_done"]}
    failed = [f"{part['symbol']} {part['day']}" for part in planned if (part["symbol"], part["day"]) not in done]
    if failed:
        more = f" and {len(failed) - 10} more" if len(failed) > 10 else ""
        raise AirflowFailException(f"not done: {', '.join(failed[:10])}{more}; their logs say why")
    return {"parts": len(planned), "symbols": counts}


def _day(value: str | None) -> date | None:
    return date.fromisoformat(value) if value else None
