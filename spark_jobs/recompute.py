"""Candles of past days again, and all that follows from them, by the stream's own transforms.

    python -m spark_jobs.recompute 2026-11-02 2026-11-06
    python -m spark_jobs.recompute --repairs

Both days are included, in UTC. With --repairs, or after the days, the indicators and anomalies that wait in
`indicator_repairs` are computed again. Prints one line of JSON; `changed` counts candles and indicator rows, and
is 0 where all was right.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta

from include.logs import log_to_stderr
from include.market.event import ASSET_CLASSES, AssetClass
from include.market.tables import EVENT_SCHEMA, PARTIAL_SCHEMA
from include.settings import required, settings
from include.storage.stream_store import StreamStore
from spark_jobs.figures import candles_with_partials, indicators_and_anomalies
from spark_jobs.transforms.indicators import LOOKBACK, SEEDED

#: It takes no lease, so it has no epoch: it writes candles and what follows from them, under a lock.
NO_EPOCH = 0


def main(arguments: Sequence[str] | None = None) -> int:
    log_to_stderr()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("first", type=date.fromisoformat, nargs="?", help="first day, YYYY-MM-DD")
    parser.add_argument("last", type=date.fromisoformat, nargs="?", help="last day, YYYY-MM-DD")
    parser.add_argument("--repairs", action="store_true", help="only what waits in indicator_repairs")
    wanted = parser.parse_args(arguments)
    if wanted.repairs == (wanted.last is not None):
        parser.error("give the first and the last day, or --repairs")
    chosen = settings()
    delay = timedelta(seconds=chosen.watermark_seconds)
    store = StreamStore(required(chosen.writer_database_url or chosen.database_url, "WRITER_DATABASE_URL"), NO_EPOCH)
    counts = {"events": 0, "candles": 0, "indicators": 0, "changed": 0}
    try:
        for day in () if wanted.repairs else days(wanted.first, wanted.last):
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

    The indicators from the day on are left to `repair_indicators`, which so does them once for many days.
    """
    start = datetime.combine(day, time(), UTC)
    end = start + timedelta(days=1)
    with store.recomputation(f"events_{asset_class}") as batch:
        events = batch.figures.events_between(start, end, asset_class)
        if events.num_rows == 0:
            return {}
        candles, _ = candles_with_partials(EVENT_SCHEMA.empty_table(), PARTIAL_SCHEMA.empty_table(), events)
        newest = batch.newest_event_time()
        changed = batch.figures.upsert_candles(candles, newest - delay if newest else None, asset_class)
        batch.figures.drop_partials(start, end, asset_class)
        batch.figures.record_repairs()
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
        counts[name] += count


if __name__ == "__main__":
    sys.exit(main())
