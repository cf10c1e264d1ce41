"""What happens to a micro-batch: one transaction in PostgreSQL, then the latest prices to Redis."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, cast

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame

from include.market.candle import FIGURES, INTERVALS, KEY
from include.market.event import AssetClass
from include.storage.cache import CacheManager
from include.storage.stream_store import EVENT_COLUMNS, Batch, StreamStore
from spark_jobs.transforms.candles import candles_of

_REFUSED_COLUMNS = [
    "topic",
    "kafka_partition",
    "kafka_offset",
    "symbol",
    "source",
    "reason",
    "payload",
]
_STORED_COLUMNS = [*EVENT_COLUMNS.split(", "), "topic"]


@dataclass(frozen=True, slots=True)
class EventSink:
    """The foreachBatch function of one query. Safe to call twice for one batch: the ledger knows."""

    query_name: str
    asset_class: AssetClass
    checkpoint_id: str
    epoch: int
    watermark_delay: timedelta
    store: StreamStore
    cache: CacheManager

    def write(self, parsed: DataFrame, batch_id: int) -> None:
        """Raises LeaseLost when another driver has taken over; any other failure rolls back whole."""
        rows = parsed.toArrow()
        valid = rows.filter(pc.is_null(rows["reason"])).select(_STORED_COLUMNS)
        refused = rows.filter(pc.is_valid(rows["reason"])).select(_REFUSED_COLUMNS)
        with self.store.batch(self.query_name, self.checkpoint_id, batch_id) as batch:
            if batch is None:
                return
            newest_before = batch.newest_event_time()
            watermark = self._watermark(newest_before)
            new = batch.add_events(valid)
            dead = batch.add_dead_letters(refused)
            late = batch.add_late(watermark)
            newest = _newest(newest_before, pc.max(valid["event_time"]).as_py())
            self._write_candles(parsed, batch, self._watermark(newest))
            prices = batch.latest_prices()
            facts = {
                "offsets": offset_ranges(rows),
                "rows_in": rows.num_rows,
                "rows_new": new,
                "rows_dead_lettered": dead,
                "rows_late": late,
                "max_event_time": newest,
            }
            batch.close_ledger(self.checkpoint_id, batch_id, self.epoch, facts)
        self.cache.set_many(prices)

    def _write_candles(self, parsed: DataFrame, batch: Batch, watermark: datetime | None) -> None:
        touched = batch.touched_events()
        candles = recomputed(parsed.sparkSession, touched) if touched.num_rows else None
        if candles is not None:
            batch.upsert_candles(candles, watermark, self.asset_class)

    def _watermark(self, newest: datetime | None) -> datetime | None:
        return None if newest is None else newest - self.watermark_delay


def recomputed(spark: Any, events: pa.Table) -> pa.Table:
    """Candles of all intervals from all events of their windows; stream and batch both call this."""
    frame = spark.createDataFrame(events)
    first, *others = (candles_of(frame, interval) for interval in INTERVALS)
    for other in others:
        first = first.unionByName(other)
    return cast(pa.Table, first.select(*KEY, *FIGURES).toArrow())


def offset_ranges(rows: pa.Table) -> dict[str, dict[str, list[int]]]:
    """`{topic: {partition: [first, last + 1]}}` of a batch's records."""
    grouped = rows.group_by(["topic", "kafka_partition"]).aggregate([("kafka_offset", "min"), ("kafka_offset", "max")])
    ranges: dict[str, dict[str, list[int]]] = {}
    for row in grouped.to_pylist():
        span = [row["kafka_offset_min"], row["kafka_offset_max"] + 1]
        ranges.setdefault(row["topic"], {})[str(row["kafka_partition"])] = span
    return ranges


def _newest(*times: datetime | None) -> datetime | None:
    return max((time for time in times if time is not None), default=None)
