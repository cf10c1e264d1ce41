"""A warehouse with a clean week in it, written by the stream's own sink, and copies of it to plant faults in.

The week of Thanksgiving 2025 in New York: Thursday is a holiday, Friday a half day. A liquid stock, one that trades
every twenty minutes or so, and a coin round the clock.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pyarrow as pa
from psycopg.sql import SQL, Identifier

from include.market.calendar import session_of
from include.market.event import ASSET_CLASSES, AssetClass, MarketEvent, bar
from include.market.instrument import Instrument
from include.market.topics import EVENTS
from include.quality.data_docs import Docs
from include.quality.run import Hold, Report, Request, run_checks
from include.quality.validation import Validator
from include.stack.postgres import admin_url
from include.storage import migrate
from include.storage.cache import CacheManager
from include.storage.lease import Lease
from include.storage.quality_store import QualityStore, TopicEnd
from include.storage.reference import refresh_reference
from include.storage.stream_store import StreamStore
from spark_jobs.sinks import EventSink
from spark_jobs.transforms.parse import SCHEMA
from tests.stores import Services

MINUTE = 60_000_000
LIQUID, QUIET, COIN = "AAPL", "IBM", "BTC-USD"
INSTRUMENTS = [
    Instrument(LIQUID, "stock", "A liquid stock", {"yahoo": LIQUID}),
    Instrument(QUIET, "stock", "A quiet stock", {"yahoo": QUIET}),
    Instrument(COIN, "crypto", "A coin", {"binance": "BTCUSDT"}),
]
MONDAY, HOLIDAY, HALF_DAY = date(2025, 11, 24), date(2025, 11, 27), date(2025, 11, 28)
#: After the early close.
END = datetime(2025, 11, 28, 19, 0, tzinfo=UTC)
BATCH_ROWS = 500
DELAY = timedelta(minutes=10)


@dataclass(frozen=True)
class Parsed:
    """What the sink takes from Spark: rows as Arrow."""

    rows: pa.Table

    def toArrow(self) -> pa.Table:
        return self.rows


@dataclass(frozen=True)
class World:
    """One database. `owner_url` plants, `checker_url` checks."""

    owner_url: str
    writer_url: str
    checker_url: str
    redis_url: str

    def execute(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.owner_url, autocommit=True) as connection:
            cursor = connection.execute(statement, values or None)
            return cursor.fetchall() if cursor.description else []

    def check(
        self,
        folder: Path,
        since: datetime,
        until: datetime,
        *,
        suites: Sequence[str] = (),
        symbols: tuple[str, ...] | None = None,
        hold: Hold = lambda check, rows: 0,
        ends: Iterable[TopicEnd] = (),
        run_id: str = "test",
    ) -> Report:
        with QualityStore(self.checker_url) as store:
            return run_checks(
                Request(run_id, since, until, tuple(suites), symbols, f"manual__{run_id}"),
                store,
                lambda: Validator(folder, self.checker_url),
                limit_seconds=300,
                ends=lambda: ends,
                hold=hold,
                docs=Docs(folder, 5),
            )


@contextmanager
def database(services: Services, name: str, template: str | None = None) -> Iterator[World]:
    """A database of this name, empty with its schema, or a copy of another."""
    made = [SQL("CREATE DATABASE {} OWNER dataeng").format(Identifier(name))]
    if template is not None:
        made = [SQL("CREATE DATABASE {} OWNER dataeng TEMPLATE {}").format(Identifier(name), Identifier(template))]
    with psycopg.connect(admin_url(services.plan), autocommit=True) as admin:
        admin.execute(made[0])
        urls = [
            url.replace("/financial_data", f"/{name}")
            for url in (services.database_url, services.writer_database_url, services.checker_database_url)
        ]
        try:
            if template is None:
                migrate.upgrade(urls[0], "live")
                refresh_reference(urls[0], "live", INSTRUMENTS, [each.symbol for each in INSTRUMENTS])
                with psycopg.connect(urls[0]) as connection:
                    connection.execute("UPDATE instruments SET collected_since = %s", (MONDAY,))
            else:
                # Rights to a database are not copied with it.
                with psycopg.connect(urls[0], autocommit=True) as owner:
                    owner.execute(
                        SQL("GRANT CONNECT, TEMPORARY ON DATABASE {} TO pipeline_writer, pipeline_checker").format(
                            Identifier(name)
                        )
                    )
                    owner.execute(SQL("ALTER DATABASE {} SET search_path = market, public").format(Identifier(name)))
            yield World(*urls, services.redis_url)
        finally:
            admin.execute(SQL("DROP DATABASE {} WITH (FORCE)").format(Identifier(name)))


def clean_week() -> dict[AssetClass, list[MarketEvent]]:
    """By asset class, in order of time. Prices wander and never jump; the quiet stock has a bar in 15 to 25 minutes."""
    dice = random.Random(27)
    stocks: list[MarketEvent] = []
    for day in (MONDAY + timedelta(days=number) for number in range(5)):
        session = session_of(day)
        if session is None:
            continue
        stocks += _bars(dice, LIQUID, "stock", range(session.open_us, session.close_us, MINUTE), 270)
        quiet, at = [], session.open_us + 3 * MINUTE
        while at < session.close_us:
            quiet.append(at)
            at += dice.randint(15, 25) * MINUTE
        stocks += _bars(dice, QUIET, "stock", quiet, 300)
    first = int(datetime(2025, 11, 27, tzinfo=UTC).timestamp()) * 1_000_000
    coins = _bars(dice, COIN, "crypto", range(first, int(END.timestamp()) * 1_000_000, MINUTE), 91_000)
    return {"stock": sorted(stocks, key=lambda event: (event.event_time, event.symbol)), "crypto": coins}


def _bars(
    dice: random.Random, symbol: str, asset_class: AssetClass, starts: Iterable[int], price: int
) -> list[MarketEvent]:
    made, close = [], Decimal(price)
    for start in starts:
        opening = close
        close = (opening * (1 + Decimal(dice.randint(-90, 90)) / 100_000)).quantize(Decimal("0.0001"))
        high = max(opening, close) + Decimal(dice.randint(0, 9)) / 100
        low = min(opening, close) - Decimal(dice.randint(0, 9)) / 100
        made.append(
            bar(
                symbol=symbol,
                asset_class=asset_class,
                source="yahoo" if asset_class == "stock" else "binance",
                start=start,
                interval_seconds=60,
                prices=(opening, high, low, close),
                volume=Decimal(dice.randint(1, 9_000)) / 8,
                currency="USD",
                ingested_at=start + MINUTE + 2_000_000,
            )
        )
    return made


class Delivery:
    """The driver's sinks; `write` may be called again with what comes next."""

    def __init__(self, world: World) -> None:
        self._lease = Lease(world.writer_url)
        epoch = self._lease.acquire("quality", 1, stale_after_seconds=0)
        self._sinks = {}
        self._at: dict[AssetClass, tuple[int, int]] = {}
        for asset_class in ASSET_CLASSES:
            store = StreamStore(world.writer_url, epoch)
            store.know_checkpoint(f"events_{asset_class}", "checkpoint", f"topic of {asset_class}")
            cache = CacheManager(world.redis_url)
            name = f"events_{asset_class}"
            self._sinks[asset_class] = EventSink(name, asset_class, "checkpoint", epoch, DELAY, store, cache)
            self._at[asset_class] = (0, 0)

    def write(self, events: dict[AssetClass, list[MarketEvent]]) -> None:
        """Batch by batch, as the next records of the topics."""
        for asset_class, listed in events.items():
            offset, batch = self._at[asset_class]
            for first in range(0, len(listed), BATCH_ROWS):
                part = listed[first : first + BATCH_ROWS]
                rows = Parsed(parsed(EVENTS[asset_class], part, offset))
                self._sinks[asset_class].write(rows, batch)  # type: ignore[arg-type]
                offset, batch = offset + len(part), batch + 1
            self._at[asset_class] = (offset, batch)

    def ends(self) -> list[TopicEnd]:
        """What Kafka then holds."""
        return [TopicEnd(EVENTS[name], 0, 0, offset, f"topic of {name}") for name, (offset, _) in self._at.items()]

    def close(self) -> None:
        for sink in self._sinks.values():
            sink.store.close()
        self._lease.release()
        self._lease.close()


def stream(world: World, events: dict[AssetClass, list[MarketEvent]]) -> list[TopicEnd]:
    """Write them as the driver would, batch by batch; what Kafka then holds."""
    delivery = Delivery(world)
    delivery.write(events)
    delivery.close()
    # As if it had been written then: the ledger is looked at by the time of its commits.
    world.execute("UPDATE stream_batches SET committed_at = max_event_time")
    world.execute("UPDATE stream_checkpoints SET known_since = '2025-11-01+00'")
    return delivery.ends()


def parsed(topic: str, events: Sequence[MarketEvent], first_offset: int) -> pa.Table:
    """As `transforms.parse` gives them, of partition 0."""
    columns: dict[str, Any] = {
        name: [getattr(event, name, None) for event in events]
        for name in SCHEMA.names
        if name not in ("topic", "kafka_partition", "kafka_offset", "reason", "payload")
    }
    count = len(events)
    columns |= {
        "topic": [topic] * count,
        "kafka_partition": [0] * count,
        "kafka_offset": list(range(first_offset, first_offset + count)),
        "reason": [None] * count,
        "payload": [None] * count,
    }
    arrays = []
    for field in SCHEMA:
        values = columns[field.name]
        if pa.types.is_timestamp(field.type):
            arrays.append(pa.array(values, pa.int64()).cast(field.type))
        elif pa.types.is_decimal(field.type):
            scaled = [None if value is None else value.quantize(Decimal("0.00000001")) for value in values]
            arrays.append(pa.array(scaled, field.type))
        else:
            arrays.append(pa.array(values, field.type))
    return pa.table(arrays, schema=SCHEMA)
