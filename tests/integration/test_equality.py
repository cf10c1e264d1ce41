"""Whatever the order, the cuts and the restarts: the stream's rows are the batch's and the reference's.

Streams are made up by Hypothesis from a `Shape`; what interrupts them between batches comes from `Interruption`.
`-m exhaustive` runs the same with many more, and other ones each time.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Literal, get_args

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pyspark.sql import SparkSession

from tests.integration.deliveries import MINUTE, Delivery, Shape, cut, records, shapes
from tests.integration.expected import Row, Truth, assert_figures_equal
from tests.integration.warehouse import DERIVED, Stream, Warehouse, driver, spark, warehouse

__all__ = ["spark", "warehouse"]

Interruption = Literal["none", "again", "restart", "restart again", "emptied", "replay", "backfill", "recompute"]
#: What is left to the repair: nothing, or all that hangs on an event a quarter of an hour old.
LATER_CANDLES = (2_000, 2_000, 15)
# A failing stream is printed whole by its shape; to shrink it, at a second a try, would take many minutes.
MADE_UP = settings(
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


class Run:
    """One stream from its first batch to its last, and what the tables must hold by then."""

    def __init__(self, spark: SparkSession, warehouse: Warehouse, shape: Shape, later_candles: int) -> None:
        self.warehouse = warehouse
        self.shape = shape
        self.dice = random.Random(shape.seed + 1)
        self.truth = Truth()
        self.deliveries = shape.deliveries()
        self.spark = spark
        self.later_candles = later_candles

    def through(self, parts: int, interruptions: Sequence[Interruption]) -> None:
        with driver(self.warehouse) as next_epoch:
            self.next_epoch = next_epoch
            self.stream = Stream(
                self.spark, self.warehouse, self.shape.asset_class, next_epoch(), self.later_candles, dice=self.dice
            )
            done = 0
            for number, batch in enumerate(cut(self.deliveries, parts, self.dice)):
                self._write(batch)
                done += len(batch)
                self._interrupt(interruptions[number % len(interruptions)], done, batch)
            self.stream.close()

    def _write(self, batch: Sequence[Delivery]) -> None:
        self.truth.batch(batch)
        self.stream.write(self._records(batch))

    def _records(self, batch: Sequence[Delivery]) -> pa.Table:
        return records(batch, self.shape.asset_class)

    def _interrupt(self, what: Interruption, done: int, batch: Sequence[Delivery]) -> None:
        if what.startswith("restart"):
            self.stream.restart(self.next_epoch())
        if what.endswith("again"):
            self.stream.write_again(self._records(batch))
        elif what == "emptied":
            self.warehouse.rows("TRUNCATE candle_partials")
        elif what == "replay":
            self.stream.read_again()
            for part in cut(self.deliveries[:done], 3, self.dice):
                self._write(part)
        elif what == "backfill":
            self._backfill()
        elif what == "recompute":
            self.warehouse.recompute()

    def _backfill(self) -> None:
        """A source is asked again: other figures for bars that are held, and bars that never came."""
        held = [row for (_, revision), row in self.truth.stored.items() if row["kind"] == "bar" and revision == 0]
        if not held:
            return
        rows: list[Row] = []
        for row in self.dice.sample(held, min(3, len(held))):
            newest = max(revision for name, revision in self.truth.stored if name == row["event_id"])
            again = {"kafka_partition": None, "kafka_offset": None, "close": row["high"], "volume": None}
            rows.append(row | again | {"revision": newest + 1})
            missed = row["event_time"] - 7 * MINUTE
            rows.append(row | again | {"event_id": f"{row['event_id']}:{missed}", "event_time": missed})
        self.warehouse.backfill(rows)
        self.truth.backfilled(rows)
        self.warehouse.recompute()

    def assert_equal(self) -> None:
        kind = self.shape.asset_class
        rows = self.warehouse.rows
        held = rows("SELECT event_id, revision, kafka_partition, kafka_offset, close, volume FROM market_events")
        assert sorted(held, key=str) == sorted(
            (
                (name, revision, row["kafka_partition"], row["kafka_offset"], row["close"], row["volume"])
                for (name, revision), row in self.truth.stored.items()
            ),
            key=str,
        )
        assert set(rows("SELECT kafka_partition, kafka_offset FROM late_events")) == self.truth.late
        assert set(rows("SELECT kafka_partition, kafka_offset FROM dead_letters")) == self.truth.dead
        counted = "SELECT coalesce(sum(rows_new), 0), coalesce(sum(rows_late), 0) FROM stream_batches"
        by_kafka = sum(row["kafka_partition"] is not None for row in self.truth.stored.values())
        assert rows(counted) == [(by_kafka, len(self.truth.late))]

        wanted = self.truth.candles()
        assert self.warehouse.candles(kind) == wanted
        # What was left to the repair is done by it, and nothing else waits.
        self.warehouse.repair()
        figures = self.warehouse.indicators(kind), self.warehouse.anomalies(kind)
        assert_figures_equal(wanted, *figures)

        self.warehouse.rows(f"TRUNCATE {DERIVED}")
        self.warehouse.recompute()
        assert self.warehouse.candles(kind) == wanted
        # To the last bit: from context or from the whole history, the arithmetic is the same.
        assert (self.warehouse.indicators(kind), self.warehouse.anomalies(kind)) == figures


interrupted = st.lists(st.sampled_from(get_args(Interruption)), min_size=4, max_size=8)


def check(
    spark: SparkSession,
    warehouse: Warehouse,
    shape: Shape,
    parts: int,
    interruptions: Sequence[Interruption],
    later_candles: int,
) -> None:
    warehouse.empty()
    run = Run(spark, warehouse, shape, later_candles)
    run.through(parts, interruptions)
    run.assert_equal()


arguments = given(
    shape=shapes(),
    parts=st.integers(1, 8),
    interruptions=interrupted,
    later_candles=st.sampled_from(LATER_CANDLES),
)


@settings(MADE_UP, max_examples=10, derandomize=True)
@arguments
def test_made_up_streams(
    spark: SparkSession,
    warehouse: Warehouse,
    shape: Shape,
    parts: int,
    interruptions: Sequence[Interruption],
    later_candles: int,
) -> None:
    check(spark, warehouse, shape, parts, interruptions, later_candles)


@pytest.mark.exhaustive
@pytest.mark.timeout(3_600)
@settings(MADE_UP, max_examples=150, print_blob=True)
@arguments
def test_many_made_up_streams(
    spark: SparkSession,
    warehouse: Warehouse,
    shape: Shape,
    parts: int,
    interruptions: Sequence[Interruption],
    later_candles: int,
) -> None:
    check(spark, warehouse, shape, parts, interruptions, later_candles)
