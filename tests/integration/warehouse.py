"""A database of a test's own, the sink that fills it batch by batch, and the rows that are in it."""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

import psycopg
import pyarrow as pa
import pytest
from psycopg.sql import SQL, Identifier
from pyspark.sql import SparkSession

from include.errors import LeaseLost
from include.market.event import ASSET_CLASSES, AssetClass
from include.stack.postgres import admin_url
from include.storage import migrate
from include.storage.cache import CacheManager
from include.storage.lease import Lease
from include.storage.stream_store import StreamStore
from spark_jobs.recompute import recompute_day, repair_indicators
from spark_jobs.sinks import EventSink
from spark_jobs.transforms.parse import parse
from tests.integration.deliveries import DELAY_US, RECORDS, SECOND
from tests.integration.expected import INDICATORS, MEASURES, Key, Row
from tests.stores import Services

DELAY = timedelta(microseconds=DELAY_US)
#: What is computed from the events; emptied, it must come back the same.
DERIVED = "candles, candle_partials, indicators, indicator_repairs, price_anomalies, anomaly_outbox"
_STREAM = "market_events, late_events, dead_letters, stream_batches"
_START = "(extract(epoch FROM window_start) * 1000000)::bigint"


@pytest.fixture(scope="module")
def spark() -> Iterator[SparkSession]:
    os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)  # else workers run the first python3 on the path
    builder = SparkSession.builder.master("local[2]").appName("equality").config("spark.ui.enabled", "false")
    session = builder.config("spark.sql.shuffle.partitions", "2").getOrCreate()
    yield session
    session.stop()


@pytest.fixture(scope="module")
def warehouse(services: Services) -> Iterator[Warehouse]:
    """Beside the other tests' database, so that its ledger and its watermarks are this module's alone."""
    name = Identifier("equality")
    with psycopg.connect(admin_url(services.plan), autocommit=True) as admin:
        admin.execute(SQL("CREATE DATABASE {} OWNER dataeng").format(name))
        urls = [
            url.replace("/financial_data", "/equality") for url in (services.database_url, services.writer_database_url)
        ]
        migrate.upgrade(urls[0], "sandbox")
        made = Warehouse(*urls, services.redis_url)
        yield made
        made.close()
        admin.execute(SQL("DROP DATABASE {} WITH (FORCE)").format(name))


@dataclass
class Warehouse:
    """`owner_url` may do everything, `writer_url` is what the stream has."""

    owner_url: str = field(repr=False)
    writer_url: str = field(repr=False)
    redis_url: str = field(repr=False)
    _connection: psycopg.Connection[Any] | None = field(default=None, repr=False)

    def rows(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        """As the owner; nothing if the statement gives no rows."""
        if self._connection is None:
            self._connection = psycopg.connect(self.owner_url, autocommit=True)
        cursor = self._connection.execute(sql, values or None)
        return cursor.fetchall() if cursor.description else []

    def empty(self) -> None:
        self.rows(f"TRUNCATE {_STREAM}, {DERIVED}")

    def recompute(self, days: Sequence[date] | None = None) -> None:
        """As `spark_jobs/recompute.py` does it, for the days that have events, in both asset classes."""
        if days is None:
            found = self.rows("SELECT DISTINCT (event_time AT TIME ZONE 'UTC')::date FROM market_events ORDER BY 1")
            days = [day for (day,) in found]
        store = StreamStore(self.writer_url, 0)
        for day in days:
            for asset_class in ASSET_CLASSES:
                recompute_day(store, day, asset_class, DELAY)
        repair_indicators(store)
        store.close()

    def repair(self) -> None:
        store = StreamStore(self.writer_url, 0)
        repair_indicators(store)
        store.close()

    def candles(self, asset_class: AssetClass) -> dict[Key, tuple[Any, ...]]:
        """By key, `expected.CANDLE_COLUMNS`."""
        found = self.rows(
            f"SELECT symbol, interval, {_START}, open, high, low, close, volume, vwap, event_count, source, is_final "
            "FROM candles WHERE asset_class = %s",
            asset_class,
        )
        return {row[:3]: row[3:] for row in found}

    def indicators(self, asset_class: AssetClass) -> list[tuple[Any, ...]]:
        return sorted(
            self.rows(
                f"SELECT symbol, interval, {_START}, {', '.join(INDICATORS)} FROM indicators "
                "JOIN candles USING (symbol, interval, window_start) WHERE asset_class = %s",
                asset_class,
            )
        )

    def anomalies(self, asset_class: AssetClass) -> list[tuple[Any, ...]]:
        return sorted(
            self.rows(
                f"SELECT symbol, interval, {_START}, metric, {', '.join(MEASURES)}, severity FROM price_anomalies "
                "JOIN candles USING (symbol, interval, window_start) WHERE asset_class = %s",
                asset_class,
            )
        )

    def backfill(self, rows: Sequence[Row]) -> None:
        """Rows that a source gave when asked again: no Kafka coordinates, a revision where the fact was held."""
        columns = [name for name in rows[0] if name != "schema_version"]
        times = ("event_time", "ingested_at")
        days = sorted({_time(row["event_time"]).date() for row in rows})
        self.rows("SELECT market.ensure_event_partitions(%s::date[])", days)
        for row in rows:
            self.rows(
                f"INSERT INTO market_events ({', '.join(columns)}) VALUES ({', '.join(['%s'] * len(columns))}) "
                "ON CONFLICT DO NOTHING",
                *(_time(row[name]) if name in times else row[name] for name in columns),
            )

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()


@dataclass
class Stream:
    """One query of a driver that restarts when told to: a new epoch, a new sink, or a new checkpoint."""

    spark: SparkSession
    warehouse: Warehouse
    asset_class: AssetClass
    epoch: int
    later_candles: int = 2_000
    checkpoint: int = 0
    batch_id: int = -1
    dice: random.Random = field(default_factory=lambda: random.Random(0))

    def __post_init__(self) -> None:
        self.sink = self._sink()

    @property
    def name(self) -> str:
        return f"events_{self.asset_class}"

    def restart(self, epoch: int) -> None:
        """Another driver takes over, and what the old one still wants to write is refused."""
        replaced = self.sink
        self.epoch = epoch
        self.sink = self._sink()
        with pytest.raises(LeaseLost):
            replaced.write(self._parsed(RECORDS.empty_table()), self.batch_id + 1)
        replaced.store.close()

    def read_again(self) -> None:
        """From offset 0 under a new checkpoint: the next batch is its first."""
        self.sink.store.close()
        self.checkpoint += 1
        self.batch_id = -1
        self.sink = self._sink()

    def write(self, records: pa.Table) -> None:
        """The next batch; its rows come in no order, as from Spark's tasks."""
        self.batch_id += 1
        self.write_again(records)

    def write_again(self, records: pa.Table) -> None:
        """The last batch once more, as after a crash between the commit and Spark's own log."""
        order = list(range(records.num_rows))
        self.dice.shuffle(order)
        self.sink.write(self._parsed(records.take(pa.array(order, pa.int64()))), self.batch_id)

    def close(self) -> None:
        self.sink.store.close()

    def _parsed(self, records: pa.Table) -> Any:
        return parse(self.spark.createDataFrame(records), self.asset_class)

    def _sink(self) -> EventSink:
        store = StreamStore(self.warehouse.writer_url, self.epoch)
        return EventSink(
            self.name, self.asset_class, f"checkpoint {self.checkpoint}", self.epoch, DELAY, store,
            CacheManager(self.warehouse.redis_url), later_candles=self.later_candles,
        )  # fmt: skip


@contextmanager
def driver(warehouse: Warehouse) -> Iterator[Callable[[], int]]:
    """Takes the lease; each call gives the epoch of the next driver."""
    lease = Lease(warehouse.writer_url)
    yield lambda: lease.acquire("equality", 1, stale_after_seconds=0)
    lease.release()
    lease.close()


def _time(micros: int) -> datetime:
    return datetime.fromtimestamp(micros // SECOND, UTC) + timedelta(microseconds=micros % SECOND)
