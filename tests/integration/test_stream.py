"""The real driver, submitted as in production, on real Kafka, PostgreSQL and Redis."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import psycopg
import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from include.market.event import MICROSECONDS, AssetClass, MarketEvent, Source, bar, encode, quote
from include.market.topics import EVENTS
from include.producers.publisher import KafkaPublisher
from include.producers.spool import MemorySpool
from include.storage.cache import CacheManager
from include.storage.lease import read_stream_state
from tests.driver import Driver
from tests.stores import Services
from tests.topics import recreate_topics
from tests.waiting import wait_until

MINUTE = 60 * MICROSECONDS
#: The start of a 5-minute window, six hours ago: whole sessions fit before now.
BASE = (time.time_ns() // 1_000 - 21_600 * MICROSECONDS) // (5 * MINUTE) * (5 * MINUTE)


def minute_bar(symbol: str, minute: int, close: str, source: Source = "yahoo", volume: str = "10") -> MarketEvent:
    price = Decimal(close)
    return bar(
        symbol=symbol,
        asset_class="stock",
        source=source,
        start=BASE + minute * MINUTE,
        interval_seconds=60,
        prices=(price - 1, price + 2, price - 2, price),
        volume=Decimal(volume),
        currency="USD",
        ingested_at=BASE,
    )


def a_quote(symbol: str, offset_us: int, price: str, asset_class: AssetClass = "stock") -> MarketEvent:
    return quote(
        symbol=symbol,
        asset_class=asset_class,
        source="yahoo",
        time=BASE + offset_us,
        price=Decimal(price),
        currency="USD",
        ingested_at=BASE,
    )


def query(services: Services, sql: str, *values: object) -> list[tuple[Any, ...]]:
    with psycopg.connect(services.database_url) as connection:
        return connection.execute(sql, values).fetchall()


def _alive(services: Services) -> bool:
    state = read_stream_state(services.database_url)
    return state is not None and state.is_alive


def candles(services: Services, symbol: str, interval: str = "1m") -> list[tuple[Any, ...]]:
    return query(
        services,
        "SELECT open, high, low, close, volume, event_count, source FROM candles "
        "WHERE symbol = %s AND interval = %s ORDER BY window_start",
        symbol,
        interval,
    )


@pytest.fixture(scope="module", autouse=True)
def empty_topics(services: Services) -> None:
    """Without what other tests have published: a driver begins at the oldest record."""
    recreate_topics(services.kafka_bootstrap_servers, list(EVENTS.values()))


@pytest.fixture(scope="module")
def publisher(services: Services) -> Iterator[KafkaPublisher]:
    made = KafkaPublisher(services.kafka_bootstrap_servers, MemorySpool())
    yield made
    made.close()


def publish(publisher: KafkaPublisher, *events: MarketEvent) -> None:
    for event in events:
        publisher.publish(event)
    publisher.confirm()


@pytest.fixture(scope="module")
def driver(services: Services, empty_topics: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Driver]:
    running = Driver(services, tmp_path_factory.mktemp("driver") / "driver.log")
    yield running
    assert running.stop() == 0, running.log.read_text()[-3000:]


def test_events_become_rows_candles_and_prices(services: Services, publisher: KafkaPublisher, driver: Driver) -> None:
    first = minute_bar("AAPL", 0, "100.12345678")
    # The same bar from a second source, a repeat, a quote inside a bar's minute, and one in a minute without.
    publish(publisher, first, minute_bar("AAPL", 0, "90", source="alpha_vantage"), first)
    publish(publisher, a_quote("AAPL", 30 * MICROSECONDS, "77"), a_quote("AAPL", MINUTE, "101.5"))
    publish(publisher, minute_bar("AAPL", 2, "103"))

    rows = wait_until(
        lambda: rows if len(rows := candles(services, "AAPL")) == 3 else None, seconds=120, what="three candles"
    )
    assert rows[0] == (
        Decimal("99.12345678"), Decimal("102.12345678"), Decimal("98.12345678"), Decimal("100.12345678"),
        Decimal(10), 1, "yahoo",
    )  # fmt: skip
    assert rows[1] == (*[Decimal("101.5")] * 4, None, 1, "yahoo")
    assert candles(services, "AAPL", "5m") == [
        (Decimal("99.12345678"), Decimal(105), Decimal("98.12345678"), Decimal(103), Decimal(20), 2, "yahoo")
    ]
    assert query(services, "SELECT count(*) FROM market_events WHERE symbol = 'AAPL'") == [(5,)]

    # The quote's minute gets its bar: the quote steps back.
    publish(publisher, minute_bar("AAPL", 1, "102"))
    wait_until(lambda: candles(services, "AAPL")[1][3] == 102, seconds=30, what="the quote's replacement")
    assert candles(services, "AAPL", "5m")[0][4:6] == (Decimal(30), 3)

    price = wait_until(lambda: CacheManager(services.redis_url).get_latest("AAPL"), seconds=10, what="the latest price")
    assert price["price"] == "103"
    assert (price["event_time"], price["source"]) == (BASE + 2 * MINUTE, "yahoo")


def test_what_is_no_event_is_kept_with_its_reason_and_stops_nothing(
    services: Services, publisher: KafkaPublisher, driver: Driver
) -> None:
    poison = Producer({"bootstrap.servers": services.kafka_bootstrap_servers})
    future = json.loads(encode(minute_bar("IBM", 0, "50"))) | {"event_time": BASE * 2}
    bodies = [b"not json", b'{"half":', json.dumps(future).encode(), b"\xff\xfe"]
    for body in bodies:
        poison.produce(EVENTS["stock"], body, key=b"IBM")
    assert poison.flush(30) == 0
    publish(publisher, minute_bar("IBM", 1, "51"))
    wait_until(lambda: candles(services, "IBM"), seconds=120, what="the good one behind the bad ones")
    kept = query(services, "SELECT reason FROM dead_letters WHERE payload = ANY(%s)", bodies)
    assert len(kept) == len(bodies)
    assert any("future" in reason for (reason,) in kept)


def test_a_late_event_is_counted_and_its_candle_is_right_all_the_same(
    services: Services, publisher: KafkaPublisher, driver: Driver
) -> None:
    publish(publisher, minute_bar("BAC", 60, "30"))
    wait_until(lambda: candles(services, "BAC"), seconds=120, what="the on-time candle")
    publish(publisher, minute_bar("BAC", 3, "29"))
    wait_until(lambda: len(candles(services, "BAC")) == 2, seconds=30, what="the late candle")
    late = query(services, "SELECT symbol, reason FROM late_events WHERE symbol = 'BAC'")
    assert late == [("BAC", "older than the watermark")]
    finals = query(
        services, "SELECT is_final FROM candles WHERE symbol = 'BAC' AND interval = '1m' ORDER BY window_start"
    )
    assert finals == [(True,), (False,)]


def test_the_ledger_accounts_for_every_record(services: Services) -> None:
    rows = query(
        services,
        "SELECT checkpoint_id, query_name, offsets, rows_in, rows_new, rows_dead_lettered FROM stream_batches "
        "WHERE query_name IN ('events_stock', 'events_crypto') ORDER BY query_name, checkpoint_id, batch_id",
    )
    assert rows
    ends: dict[tuple[str, str, str], int] = {}
    for checkpoint, name, offsets, rows_in, rows_new, dead in rows:
        # An empty topic begins with an empty batch.
        spans = next(iter(offsets.values()), {}).items()
        assert rows_in == sum(until - first for _, (first, until) in spans)
        assert rows_new + dead <= rows_in
        for partition, (first, until) in spans:
            assert ends.get((checkpoint, name, partition), 0) == first
            ends[checkpoint, name, partition] = until


def test_the_lag_stands_where_kafkas_own_tools_look(
    services: Services, publisher: KafkaPublisher, driver: Driver
) -> None:
    publish(publisher, minute_bar("CVX", 7, "90"))
    wait_until(lambda: candles(services, "CVX"), seconds=120, what="the candle")
    group = Consumer({"bootstrap.servers": services.kafka_bootstrap_servers, "group.id": "spark-events_stock"})
    topic = EVENTS["stock"]
    ends = {number: group.get_watermark_offsets(TopicPartition(topic, number))[1] for number in (0, 1)}

    def mirrored() -> bool:
        committed = group.committed([TopicPartition(topic, number) for number in ends], timeout=10)
        return {found.partition: max(found.offset, 0) for found in committed} == ends

    wait_until(mirrored, seconds=30, what="the offsets of the group")
    group.close()
