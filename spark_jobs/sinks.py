"""What happens to a micro-batch: one transaction in PostgreSQL, then the world outside hears of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pyarrow as pa
import pyarrow.compute as pc
import redis
import structlog
from pyspark.sql import DataFrame
from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_delay, wait_random_exponential

from include.code_version import code_version
from include.errors import LeaseLost
from include.market.event import AssetClass
from include.storage.cache import CacheManager, LatestPrice
from include.storage.control_sum import control_sum
from include.storage.stream_store import EVENT_COLUMNS, Batch, CheckpointSetBack, Offsets, StreamStore
from spark_jobs.failpoints import failpoint
from spark_jobs.figures import candles_with_partials, replace_followers

_REFUSED_COLUMNS = ["topic", "kafka_partition", "kafka_offset", "symbol", "source", "reason", "payload"]
_STORED_COLUMNS = [*EVENT_COLUMNS.split(", "), "topic"]
#: So long an absence of PostgreSQL is waited for; a longer one ends the driver, and the supervisor starts another.
OUTAGE_SECONDS = 120.0
#: After the watermark's delay, so long without a record makes a market silent.
SILENCE_GRACE_SECONDS = 60.0
#: A late event changes the indicators of every later candle; of so many at most in its own transaction.
LATER_CANDLES = 2_000

log = structlog.get_logger("stream")


@dataclass(frozen=True, slots=True)
class EventSink:
    """The foreachBatch function of one query. Safe to call twice for one batch: the ledger knows.

    Lateness is judged by the watermark before the batch, finality by the one after it, so that the
    same records end in the same rows wherever the batches were cut. Both follow event time; only a market
    that is wholly silent is closed by the clock (`finalise_silent`).
    """

    query_name: str
    asset_class: AssetClass
    checkpoint_id: str
    epoch: int
    watermark_delay: timedelta
    store: StreamStore
    cache: CacheManager
    #: Called with the batch's offsets once they are committed.
    on_commit: Callable[[Offsets], None] = field(default=lambda offsets: None)
    #: Called with query, batch and offsets of a batch that could not be written.
    on_failure: Callable[[dict[str, Any]], None] = field(default=lambda batch: None)
    outage_seconds: float = OUTAGE_SECONDS
    later_candles: int = LATER_CANDLES

    def write(self, parsed: DataFrame, batch_id: int) -> None:
        """Raises LeaseLost when another driver has taken over; any other failure rolls back whole.

        While PostgreSQL is away the batch is tried again. A COMMIT whose answer was lost is found in the
        ledger then. A unique key that another writer took between our look and our copy is seen the next time.
        """
        rows = parsed.toArrow()
        offsets = offset_ranges(rows)
        failpoint("batch read")
        attempts = Retrying(
            retry=retry_if_exception_type((psycopg.OperationalError, psycopg.errors.UniqueViolation)),
            stop=stop_after_delay(self.outage_seconds),
            wait=wait_random_exponential(multiplier=0.2, max=5),
            before_sleep=self._say_retry,
            reraise=True,
        )
        try:
            prices = attempts(self._commit, rows, offsets, batch_id)
        except LeaseLost:
            raise
        except Exception:
            self.on_failure({"query": self.query_name, "batch_id": batch_id, "offsets": offsets})
            raise
        failpoint("committed")
        self._show(prices)
        failpoint("shown")
        self.on_commit(offsets)

    def finalise_silent(self) -> int:
        """Close the last windows of a market from which nothing comes any more; how many were open.

        The rows get the same figures as ever: only `is_final` comes by the clock instead of by the next event.
        """
        with self.store.between_batches(self.query_name) as batch:
            silent = batch.seconds_silent()
            if silent is None or silent < self.watermark_delay.total_seconds() + SILENCE_GRACE_SECONDS:
                return 0
            return batch.figures.finalise(datetime.now(UTC) - self.watermark_delay, self.asset_class)

    def refill_cache(self) -> None:
        """Bring Redis up to date from PostgreSQL: it may have been emptied. Raises psycopg.Error."""
        self._show(self.store.all_latest_prices(self.asset_class))

    def _commit(self, rows: pa.Table, offsets: Offsets, batch_id: int) -> list[LatestPrice]:
        with self.store.batch(self.query_name, self.checkpoint_id, batch_id) as batch:
            if batch.held_offsets is None:
                new = self._store(rows, offsets, batch, batch_id)
            else:
                new = self._recall(rows, offsets, batch, batch_id)
            prices = batch.latest_prices(new)
            failpoint("before commit")
        return prices

    def _store(self, rows: pa.Table, offsets: Offsets, batch: Batch, batch_id: int) -> pa.Table:
        valid = _valid(rows)
        refused = rows.filter(pc.is_valid(rows["reason"])).select(_REFUSED_COLUMNS)
        newest_before = batch.newest_event_time()
        newest = _newest(newest_before, pc.max(valid["event_time"]).as_py())
        new = batch.add_events(valid)
        failpoint("events stored")
        dead = batch.add_dead_letters(refused)
        late = batch.add_late(new, self._watermark(newest_before))
        counted = batch.of_held_days(new)
        if counted.num_rows:
            self._compute(batch, counted, self._watermark(newest))
        else:
            # A repeat with a later time moves the watermark too.
            batch.figures.finalise(self._watermark(newest), self.asset_class)
        facts = {
            "offsets": offsets,
            "rows_in": rows.num_rows,
            "rows_new": new.num_rows,
            "rows_dead_lettered": dead,
            "rows_late": late,
            "rows_repeated": valid.num_rows - new.num_rows,
            "min_event_time": pc.min(new["event_time"]).as_py(),
            "max_event_time": newest,
            "control_sum": control_sum(new),
            "code_version": code_version(),
        }
        batch.close_ledger(batch_id, self.epoch, facts)
        return new

    def _compute(self, batch: Batch, new: pa.Table, watermark: datetime | None) -> None:
        candles, partials = candles_with_partials(*batch.figures.basis(new))
        batch.figures.upsert_candles(candles, watermark, self.asset_class)
        batch.figures.keep_partials(partials, watermark, self.asset_class)
        replace_followers(batch.figures, at_most=self.later_candles)

    def _recall(self, rows: pa.Table, offsets: Offsets, batch: Batch, batch_id: int) -> pa.Table:
        """The batch is stored; only Redis may have missed it."""
        if batch.held_offsets != offsets:
            raise CheckpointSetBack(
                f"the checkpoint of {self.query_name} was set back: its batch {batch_id} held other records before. "
                "Start with --rebuild: the topic is then read from its start, and repeats are ignored"
            )
        return batch.recall_events(_valid(rows))

    def _show(self, prices: list[LatestPrice]) -> None:
        # Redis is a cache: without it the stream goes on, and the pages read prices from PostgreSQL.
        try:
            self.cache.set_many(prices)
        except redis.RedisError as failure:
            log.warning("prices did not reach Redis", query=self.query_name, reason=str(failure))

    def _say_retry(self, attempt: RetryCallState) -> None:
        failure = attempt.outcome.exception() if attempt.outcome else None
        log.warning("batch failed, trying again", query=self.query_name, reason=str(failure).strip())

    def _watermark(self, newest: datetime | None) -> datetime | None:
        return None if newest is None else newest - self.watermark_delay


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
