"""Candles of past days again, from the stored events, by the stream's own transform. Run by spark-submit.

    spark-submit spark_jobs/recompute.py 2026-11-02 2026-11-06

Both days are included, in UTC. Prints one line of JSON; `changed` is 0 where the candles were right.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta

from pyspark.sql import SparkSession

from include.logs import log_to_stderr
from include.market.event import ASSET_CLASSES, AssetClass
from include.settings import required, settings
from include.storage.stream_store import StreamStore
from spark_jobs.session import open_session, spark_settings
from spark_jobs.sinks import recomputed

#: It takes no lease, so it has no epoch: it writes candles alone, under a lock.
NO_EPOCH = 0


def main(arguments: Sequence[str] | None = None) -> int:
    log_to_stderr()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("first", type=date.fromisoformat, help="first day, YYYY-MM-DD")
    parser.add_argument("last", type=date.fromisoformat, help="last day, YYYY-MM-DD")
    wanted = parser.parse_args(arguments)
    chosen = settings()
    delay = timedelta(seconds=chosen.watermark_seconds)
    store = StreamStore(required(chosen.writer_database_url or chosen.database_url, "WRITER_DATABASE_URL"), NO_EPOCH)
    spark = open_session("recompute", spark_settings())
    counts = {"events": 0, "candles": 0, "changed": 0}
    try:
        for day in days(wanted.first, wanted.last):
            for asset_class in ASSET_CLASSES:
                for name, count in recompute_day(spark, store, day, asset_class, delay).items():
                    counts[name] += count
    finally:
        spark.stop()
        store.close()
    print(json.dumps(counts))
    return 0


def days(first: date, last: date) -> Iterator[date]:
    """Each day from first to last, both included."""
    yield from (first + timedelta(days=number) for number in range((last - first).days + 1))


def recompute_day(
    spark: SparkSession, store: StreamStore, day: date, asset_class: AssetClass, delay: timedelta
) -> dict[str, int]:
    """One UTC day of one asset class; every window lies wholly inside a day. The counts of what was done."""
    start = datetime.combine(day, time(), UTC)
    with store.recomputation(f"events_{asset_class}") as batch:
        events = batch.events_between(start, start + timedelta(days=1), asset_class)
        if events.num_rows == 0:
            return {}
        candles = recomputed(spark, events)
        newest = batch.newest_event_time()
        changed = batch.upsert_candles(candles, newest - delay if newest else None, asset_class)
    return {"events": events.num_rows, "candles": candles.num_rows, "changed": changed}


if __name__ == "__main__":
    sys.exit(main())
