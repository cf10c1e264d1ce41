"""One batch at a time through the real transform, PostgreSQL and Redis; the driver is in test_stream."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pyarrow as pa
import pytest
from pyspark.sql import SparkSession

from include.market.event import MICROSECONDS, MarketEvent, bar, encode
from include.storage.archive import Archive
from include.storage.archive_catalogue import EVENTS, DayIsCold
from include.storage.cache import CacheManager
from include.storage.lease import Lease
from include.storage.stream_store import Batch, CheckpointSetBack, StreamStore
from spark_jobs.recompute import recompute_day
from spark_jobs.sinks import EventSink
from spark_jobs.transforms.parse import parse
from tests.stores import Services

MINUTE = 60 * MICROSECONDS
#: A day of its own: other tests write to today.
BASE = int(datetime(2026, 3, 2, 14, 30, tzinfo=UTC).timestamp()) * MICROSECONDS
DELAY = timedelta(seconds=600)
RECORDS = pa.schema(
    [
        ("value", pa.binary()),
        ("topic", pa.string()),
        ("partition", pa.int32()),
        ("offset", pa.int64()),
        ("timestamp", pa.timestamp("us", "UTC")),
    ]
)


@pytest.fixture(scope="module")
def spark() -> Iterator[SparkSession]:
    os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)  # else workers run the first python3 on the path
    builder = SparkSession.builder.master("local[2]").appName("sink").config("spark.ui.enabled", "false")
    session = builder.config("spark.sql.shuffle.partitions", "2").getOrCreate()
    yield session
    session.stop()


class Query:
    """A query's sink and the topic that it reads; every batch carries on where the last one ended."""

    def __init__(self, spark: SparkSession, services: Services, epoch: int, name: str, redis_url: str) -> None:
        self.spark = spark
        self.name = name
        self.services = services
        store = StreamStore(services.writer_database_url, epoch)
        self.sink = EventSink(name, "stock", f"checkpoint of {name}", epoch, DELAY, store, CacheManager(redis_url))
        self.offset = 0

    def batch(self, number: int, *events: MarketEvent | bytes, offset: int | None = None) -> int:
        """Write one batch; its first offset."""
        first = self.offset if offset is None else offset
        values = [encode(event) if isinstance(event, MarketEvent) else event for event in events]
        now = time.time_ns() // 1_000
        rows = [
            {"value": value, "topic": self.name, "partition": 0, "offset": first + n, "timestamp": now}
            for n, value in enumerate(values)
        ]
        records = self.spark.createDataFrame(pa.Table.from_pylist(rows, schema=RECORDS))
        self.sink.write(parse(records, "stock"), number)
        self.offset = max(self.offset, first + len(rows))
        return first

    def rows(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.services.database_url) as connection:
            return connection.execute(sql, values).fetchall()

    def ledger(self) -> list[tuple[Any, ...]]:
        return self.rows(
            "SELECT rows_in, rows_new, rows_dead_lettered, rows_late FROM stream_batches "
            "WHERE query_name = %s ORDER BY batch_id",
            self.name,
        )


@pytest.fixture
def epoch(services: Services) -> Iterator[int]:
    lease = Lease(services.writer_database_url)
    yield lease.acquire("test", 1, stale_after_seconds=0)
    lease.release()
    lease.close()


@pytest.fixture
def query(spark: SparkSession, services: Services, epoch: int, request: pytest.FixtureRequest) -> Query:
    return Query(spark, services, epoch, request.node.name, services.redis_url)


def minute(symbol: str, number: int, close: int, source: str = "yahoo") -> MarketEvent:
    price = Decimal(close)
    return bar(
        symbol=symbol, asset_class="stock", source=source, start=BASE + number * MINUTE, interval_seconds=60,
        prices=(price, price, price, price), volume=Decimal(1), currency="USD", ingested_at=BASE,
    )  # fmt: skip


CANDLES = "SELECT close, is_final FROM candles WHERE symbol = %s AND interval = '1m' ORDER BY window_start"


def test_an_id_that_comes_again_is_ignored_whatever_it_says(query: Query) -> None:
    again = json.loads(encode(minute("R1", 0, 10)))
    otherwise = dict.fromkeys(("open", "high", "low", "close"), "99")
    query.batch(0, minute("R1", 0, 10), json.dumps(again | otherwise).encode())
    query.batch(1, json.dumps(again | otherwise).encode(), minute("R1", 1, 11))
    query.batch(2, json.dumps(again | otherwise | {"event_time": BASE + 7 * MINUTE}).encode())
    assert query.rows(CANDLES, "R1") == [(10, False), (11, False)]
    assert query.ledger() == [(2, 1, 0, 0), (2, 1, 0, 0), (1, 0, 0, 0)]
    assert CacheManager(query.services.redis_url).get_latest_price("R1") == 11


def test_a_late_event_is_recorded_once_though_delivered_twice(query: Query) -> None:
    query.batch(0, minute("L1", 30, 10))
    late = query.batch(1, minute("L1", 19, 8), minute("L1", 19, 8), minute("L1", 20, 9))
    assert query.rows("SELECT kafka_offset FROM late_events WHERE symbol = 'L1'") == [(late,)]
    assert query.ledger()[1] == (3, 2, 0, 1)
    assert query.rows(CANDLES, "L1") == [(8, True), (9, False), (10, False)]


def test_a_candle_of_a_day_in_the_archive_stays_until_the_day_is_back(query: Query, tmp_path: Path) -> None:
    old = -60 * 24 * 60
    day = datetime.fromtimestamp((BASE + old * MINUTE) / MICROSECONDS, UTC).date()
    query.batch(0, minute("Y1", old, 10), minute("Y1", old + 1, 11), minute("Y1", 0, 14))
    with Archive(query.services.database_url, tmp_path) as archive:
        archive.archive_day(EVENTS, day)
        archive.drop_day(EVENTS, day)
        query.batch(1, minute("Y1", old, 12, source="alpha_vantage"), minute("Y1", 1, 15))
        assert query.rows(CANDLES, "Y1") == [(10, True), (11, True), (14, False), (15, False)]
        assert query.ledger()[1] == (2, 2, 0, 1)
        with pytest.raises(DayIsCold, match=f"{day}"):
            recompute_day(query.sink.store, day, "stock", DELAY)
        archive.restore_day(EVENTS, day)
    recompute_day(query.sink.store, day, "stock", DELAY)
    assert query.rows(CANDLES, "Y1") == [(10, True), (11, True), (14, False), (15, False)]
    assert query.rows("SELECT count(*) FROM market_events WHERE symbol = 'Y1'") == [(5,)]


def test_a_price_whose_event_is_in_the_archive_is_told_by_its_candle(query: Query, tmp_path: Path) -> None:
    old = -61 * 24 * 60
    day = datetime.fromtimestamp((BASE + old * MINUTE) / MICROSECONDS, UTC).date()
    query.batch(0, minute("Y2", old, 10), minute("Y2", old + 1, 11))
    with Archive(query.services.database_url, tmp_path) as archive:
        archive.archive_day(EVENTS, day)
        archive.drop_day(EVENTS, day)
        cache = CacheManager(query.services.redis_url)
        expected = cache.get_latest("Y2")
        cache._client.delete("price:Y2")
        query.sink.refill_cache()
        assert expected is not None
        assert cache.get_latest("Y2") == {**expected, "currency": None}
        archive.restore_day(EVENTS, day)


def test_windows_close_when_the_watermark_passes_their_end(query: Query) -> None:
    query.batch(0, minute("F1", 0, 10), minute("F1", 10, 11))
    assert query.rows(CANDLES, "F1") == [(10, False), (11, False)]
    query.batch(1, minute("F1", 11, 12))
    assert query.rows(CANDLES, "F1") == [(10, True), (11, False), (12, False)]


def test_a_batch_that_comes_again_writes_nothing_but_brings_redis_up_to_date(query: Query) -> None:
    first = query.batch(0, minute("A1", 0, 10), b"no event", minute("A1", 1, 11))
    before = query.rows("SELECT xmin, * FROM candles WHERE symbol = 'A1'")
    cache = CacheManager(query.services.redis_url)
    cache._client.delete("price:A1")
    query.batch(0, minute("A1", 0, 10), b"no event", minute("A1", 1, 11), offset=first)
    assert cache.get_latest_price("A1") == 11
    assert query.rows("SELECT xmin, * FROM candles WHERE symbol = 'A1'") == before
    assert query.ledger() == [(3, 2, 1, 0)]


def test_an_old_copy_of_a_checkpoint_is_refused(query: Query) -> None:
    query.batch(0, minute("S1", 0, 10))
    with pytest.raises(CheckpointSetBack, match="batch 0"):
        query.batch(0, minute("S1", 0, 10), minute("S1", 1, 11))
    assert query.rows(CANDLES, "S1") == [(10, False)]


def test_without_redis_the_stream_goes_on(spark: SparkSession, services: Services, epoch: int) -> None:
    query = Query(spark, services, epoch, "without redis", "redis://127.0.0.1:1/0")
    query.batch(0, minute("N1", 0, 10))
    assert query.rows(CANDLES, "N1") == [(10, False)]


def test_change_is_against_the_last_close_of_the_day_before(query: Query) -> None:
    yesterday = -24 * 60
    query.batch(0, minute("C1", yesterday, 5), minute("C1", yesterday + 1, 8))
    cache = CacheManager(query.services.redis_url)
    assert (cache.get_latest("C1") or {})["change_pct"] == 60
    query.batch(1, minute("C1", 0, 10))
    assert (cache.get_latest("C1") or {})["change_pct"] == 25


def test_recomputation_repairs_what_differs_and_nothing_else(
    query: Query, spark: SparkSession, services: Services
) -> None:
    query.batch(0, *(minute("X1", number, 10 + number) for number in range(12)))
    table = "SELECT * FROM candles WHERE symbol = 'X1' ORDER BY interval, window_start"
    right = query.rows(table)
    with psycopg.connect(services.database_url) as connection:
        connection.execute("UPDATE candles SET close = 7 WHERE symbol = 'X1' AND interval = '5m' AND close = 14")
        connection.execute("DELETE FROM candles WHERE symbol = 'X1' AND interval = '1m' AND close = 12")
    store = StreamStore(services.writer_database_url, 0)
    day = datetime.fromtimestamp(BASE / MICROSECONDS, UTC).date()
    # Another query's ledger may close windows here; a first run settles that, the damage included.
    first = recompute_day(store, day, "stock", DELAY)
    assert first["changed"] >= 2
    assert recompute_day(store, day, "stock", DELAY)["changed"] == 0
    store.close()
    figures = [row[:11] for row in query.rows(table)]
    assert figures == [row[:11] for row in right]


def test_a_silent_market_is_closed_by_the_clock_and_not_before(query: Query) -> None:
    query.batch(0, minute("Z1", 0, 10))
    assert query.sink.finalise_silent() == 0
    assert query.rows(CANDLES, "Z1") == [(10, False)]
    query.rows(
        "UPDATE stream_batches SET committed_at = committed_at - interval '1 hour' WHERE query_name = %s RETURNING 1",
        query.name,
    )
    assert query.sink.finalise_silent() > 0
    assert query.rows(CANDLES, "Z1") == [(10, True)]


def test_a_batch_outlives_the_loss_of_its_connection(query: Query) -> None:
    query.batch(0, minute("K1", 0, 10))
    connection = query.sink.store._connection
    assert connection is not None
    with psycopg.connect(query.services.writer_database_url) as other:
        other.execute("SELECT pg_terminate_backend(%s)", (connection.info.backend_pid,))
    query.batch(1, minute("K1", 1, 11))
    assert query.rows(CANDLES, "K1") == [(10, False), (11, False)]


class LosesTheAnswer(StreamStore):
    """The first COMMIT is done; its answer never comes."""

    lost = False

    @contextmanager
    def batch(self, query_name: str, checkpoint_id: str, batch_id: int) -> Iterator[Batch]:
        with super().batch(query_name, checkpoint_id, batch_id) as batch:
            yield batch
        if not self.lost:
            self.lost = True
            raise psycopg.OperationalError("server closed the connection unexpectedly")


def test_a_lost_answer_to_commit_doubles_nothing(query: Query, services: Services) -> None:
    object.__setattr__(query.sink, "store", LosesTheAnswer(services.writer_database_url, query.sink.epoch))
    query.batch(0, minute("T1", 0, 10))
    assert query.rows(CANDLES, "T1") == [(10, False)]
    assert query.ledger() == [(1, 1, 0, 0)]
    assert CacheManager(services.redis_url).get_latest_price("T1") == 10


def test_an_emptied_cache_is_filled_again_from_the_warehouse(query: Query) -> None:
    query.batch(0, minute("Y1", 0, 10), minute("Y1", 1, 11))
    cache = CacheManager(query.services.redis_url)
    expected = cache.get_latest("Y1")
    cache._client.delete("price:Y1")
    query.sink.refill_cache()
    assert cache.get_latest("Y1") == expected
