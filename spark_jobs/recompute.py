"""Candles of past days again, and all that follows from them, by the stream's own transforms.

    python -m spark_jobs.recompute 2026-11-02 2026-11-06
    python -m spark_jobs.recompute --repairs
    python -m spark_jobs.recompute --quarantine

Both days are included, in UTC. With --repairs, or after the days, the indicators and anomalies that wait in
`indicator_repairs` are computed again. --quarantine does the windows whose events were held or released since they were
counted last; `applied` says how many. Prints one line of JSON; `changed` counts candles and indicator rows, and is 0
where all was right. A day whose raw events are only in the archive is refused; its rows in quarantine wait.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from datetime import date, timedelta

import pyarrow as pa
import redis
import structlog

from include.logs import log_to_stderr
from include.market.event import ASSET_CLASSES, AssetClass
from include.market.moments import day_bounds
from include.settings import required, settings
from include.storage.cache import CacheManager
from include.storage.stream_store import NO_EPOCH, Batch, StreamStore
from spark_jobs.figures import candles_counted, indicators_and_anomalies
from spark_jobs.memory import keep_freed_memory
from spark_jobs.transforms.indicators import LOOKBACK, SEEDED

log = structlog.get_logger("recompute")


def main(arguments: Sequence[str] | None = None) -> int:
    log_to_stderr()
    keep_freed_memory()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("first", type=date.fromisoformat, nargs="?", help="first day, YYYY-MM-DD")
    parser.add_argument("last", type=date.fromisoformat, nargs="?", help="last day, YYYY-MM-DD")
    parser.add_argument("--repairs", action="store_true", help="only what waits in indicator_repairs")
    parser.add_argument("--quarantine", action="store_true", help="only what was held or released since")
    wanted = parser.parse_args(arguments)
    if [wanted.repairs, wanted.quarantine, wanted.last is not None].count(True) != 1:
        parser.error("give the first and the last day, or --repairs, or --quarantine")
    chosen = settings()
    delay = timedelta(seconds=chosen.watermark_seconds)
    url = required(chosen.writer_database_url or chosen.database_url, "WRITER_DATABASE_URL")
    store = StreamStore(url, NO_EPOCH)
    counts = {"events": 0, "candles": 0, "indicators": 0, "changed": 0}
    try:
        if wanted.quarantine:
            _add(counts, apply_quarantine(store, delay, CacheManager(required(chosen.redis_url, "REDIS_URL"))))
        elif wanted.last is not None:
            with store.recomputation("days") as batch:
                batch.refuse_cold(wanted.first, wanted.last)
            for day in days(wanted.first, wanted.last):
                for asset_class in ASSET_CLASSES:
                    _add(counts, recompute_day(store, day, asset_class, delay))
        _add(counts, repair_indicators(store))
    finally:
        store.close()
    print(json.dumps(counts))
    return 0


def days(first: date, last: date) -> Iterator[date]:
    """Each day from first to last, both included."""
    yield from (first + timedelta(days=number) for number in range((last - first).days + 1))


def recompute_day(store: StreamStore, day: date, asset_class: AssetClass, delay: timedelta) -> dict[str, int]:
    """The candles of one UTC day of one asset class; every window lies wholly inside a day. What was done.

    The indicators from the day on are left to `repair_indicators`, which so does them once for many days. Raises
    DayIsCold.
    """
    start, end = day_bounds(day)
    with store.recomputation(f"events_{asset_class}") as batch:
        # It would find no events, or only the late ones.
        batch.refuse_cold(day, day)
        applied = batch.figures.take_quarantined(start, end, asset_class)
        events = batch.figures.events_between(start, end, asset_class)
        if events.num_rows == len(applied) == 0:
            return {}
        done = _replace_candles(batch, events, asset_class, delay)
        batch.figures.drop_partials(start, end, asset_class)
        batch.figures.record_repairs()
    return done


def apply_quarantine(store: StreamStore, delay: timedelta, cache: CacheManager) -> dict[str, int]:
    """The candles of all windows whose events were held or released since; indicators are left to the repair.

    A price that is held is not the latest any more. Raises psycopg.Error.
    """
    counts = {"applied": 0, "events": 0, "candles": 0, "changed": 0}
    for day, asset_class in store.quarantined_days():
        with store.recomputation(f"events_{asset_class}") as batch:
            applied = batch.figures.take_quarantined(*day_bounds(day), asset_class)
            _add(counts, _replace_candles(batch, batch.figures.events_recounted(), asset_class, delay))
            batch.figures.drop_partials_recounted()
            batch.figures.record_repairs(only_changed=True)
        _add(counts, {"applied": len(applied)})
        try:
            cache.forget((row["symbol"], row["event_time"]) for row in applied)
            cache.set_many(store.all_latest_prices(asset_class))
        except redis.RedisError as failure:
            log.warning("prices did not reach Redis", reason=str(failure))
    return counts


def _replace_candles(batch: Batch, events: pa.Table, asset_class: AssetClass, delay: timedelta) -> dict[str, int]:
    candles = candles_counted(events)
    newest = batch.newest_event_time()
    changed = batch.figures.upsert_candles(candles, newest - delay if newest else None, asset_class)
    changed += batch.figures.remove_uncounted()
    return {"events": events.num_rows, "candles": candles.num_rows, "changed": changed}


def repair_indicators(store: StreamStore) -> dict[str, int]:
    """Indicators and anomalies from the recorded candles on to the newest; one transaction a symbol and interval."""
    counts = {"indicators": 0, "changed": 0}
    for symbol, interval in store.repairs():
        with store.recomputation("repairs") as batch:
            batch.figures.take_repair(symbol, interval)
            context, firsts = batch.figures.context(LOOKBACK, SEEDED)
            if context.num_rows == 0:
                continue
            indicators, anomalies = indicators_and_anomalies(context, firsts)
            counts["indicators"] += indicators.num_rows
            counts["changed"] += batch.figures.replace_indicators(indicators, anomalies)
    return counts


def _add(counts: dict[str, int], done: dict[str, int]) -> None:
    for name, count in done.items():
        counts[name] = counts.get(name, 0) + count


if __name__ == "__main__":
    sys.exit(main())
