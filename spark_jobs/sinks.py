"""What happens to a micro-batch: one transaction in PostgreSQL, then the latest prices to Redis."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import cast

import pyarrow as pa
import pyarrow.compute as pc
import redis
import structlog
from pyspark.sql import DataFrame, SparkSession

from include.market.candle import FIGURES, INTERVALS, KEY
from include.market.event import AssetClass
from include.storage.cache import CacheManager, LatestPrice
from include.storage.stream_store import EVENT_COLUMNS, Batch, CheckpointSetBack, Offsets, StreamStore
from spark_jobs.transforms.candles import candles_of

_REFUSED_COLUMNS = ["topic", "kafka_partition", "kafka_offset", "symbol", "source", "reason", "payload"]
_STORED_COLUMNS = [*EVENT_COLUMNS.split(", "), "topic"]

log = structlog.get_logger("stream")


@dataclass(frozen=True, slots=True)
class EventSink:
    """The foreachBatch function of one query. Safe to call twice for one batch: the ledger knows.

    Lateness is judged by the watermark before the batch, finality by the one after it, so that the
    same records end in the same rows wherever the batches were cut. Both follow event time alone: while
    a market is silent its last windows stay open.
    """

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
        with self.store.batch(self.query_name, self.checkpoint_id, batch_id) as batch:
            if batch.held_offsets is None:
                self._store(parsed.sparkSession, rows, batch, batch_id)
            else:
                self._recall(rows, batch, batch_id)
            prices = batch.latest_prices()
        self._show(prices)

    def _store(self, spark: SparkSession, rows: pa.Table, batch: Batch, batch_id: int) -> None:
        valid = _valid(rows)
        refused = rows.filter(pc.is_valid(rows["reason"])).select(_REFUSED_COLUMNS)
        newest_before = batch.newest_event_time()
        newest = _newest(newest_before, pc.max(valid["event_time"]).as_py())
        new = batch.add_events(valid)
        dead = batch.add_dead_letters(refused)
        late = batch.add_late(self._watermark(newest_before))
        if new:
            candles = recomputed(spark, batch.touched_events())
            batch.upsert_candles(candles, self._watermark(newest), self.asset_class)
        facts = {
            "offsets": offset_ranges(rows),
            "rows_in": rows.num_rows,
            "rows_new": new,
            "rows_dead_lettered": dead,
            "rows_late": late,
            "max_event_time": newest,
        }
        batch.close_ledger(self.checkpoint_id, batch_id, self.epoch, facts)

    def _recall(self, rows: pa.Table, batch: Batch, batch_id: int) -> None:
        """The batch is stored; only Redis may have missed it."""
        if batch.held_offsets != offset_ranges(rows):
            raise CheckpointSetBack(
                f"the checkpoint of {self.query_name} was set back: its batch {batch_id} held other records before. "
                "Delete its folder; the topic is then read from its start, and repeats are ignored"
            )
        batch.recall_events(_valid(rows))

    def _show(self, prices: list[LatestPrice]) -> None:
        # Redis is a cache: without it the stream goes on, and the pages read prices from PostgreSQL.
        try:
            self.cache.set_many(prices)
        except redis.RedisError as failure:
            log.warning("prices did not reach Redis", query=self.query_name, reason=str(failure))

    def _watermark(self, newest: datetime | None) -> datetime | None:
        return None if newest is None else newest - self.watermark_delay


def recomputed(spark: SparkSession, events: pa.Table) -> pa.Table:
    """Candles of all intervals from all events of their windows; stream and batch both call this."""
    frame = spark.createDataFrame(events)
    first, *others = (candles_of(frame, interval) for interval in INTERVALS)
    for other in others:
        first = first.unionByName(other)
    return cast(pa.Table, first.select(*KEY, *FIGURES).toArrow())


def offset_ranges(rows: pa.Table) -> Offsets:
    """The offsets of a batch's records. Exact: our producers write no transactions, so offsets have no holes."""
    grouped = rows.group_by(["topic", "kafka_partition"]).aggregate([("kafka_offset", "min"), ("kafka_offset", "max")])
    ranges: Offsets = {}
    for row in grouped.to_pylist():
        span = [row["kafka_offset_min"], row["kafka_offset_max"] + 1]
        ranges.setdefault(row["topic"], {})[str(row["kafka_partition"])] = span
    return ranges


def _valid(rows: pa.Table) -> pa.Table:
    return rows.filter(pc.is_null(rows["reason"])).select(_STORED_COLUMNS)


def _newest(*times: datetime | None) -> datetime | None:
    return max((time for time in times if time is not None), default=None)
