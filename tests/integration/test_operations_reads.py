"""What the operations page reads, on the real stores: lease, ledger, sources, gaps, topics, records and letters."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from include.errors import MarketDataError, Unreachable
from include.market.event import MICROSECONDS
from include.operations.kafka_look import GROUPS, MOST_MESSAGES, TOPICS, KafkaLook, Record
from include.producers.publisher import KafkaPublisher
from include.producers.replaying import LetterBench
from include.producers.spool import MemorySpool
from include.sources.base import Rejected
from include.storage import migrate
from include.storage.gap_reads import GapReader
from include.storage.operations_reads import OperationsReader
from include.storage.operations_rows import GapCounts, Window
from include.storage.read_connections import DatabaseUnavailable
from include.storage.source_postgres import PostgresSourceState
from include.storage.source_state import Call, Held
from include.storage.source_switches import SourceSwitches
from tests.stores import Services
from tests.trial_database import trial_database
from tests.unit.producers.test_letter_replay import KLINE
from tests.waiting import wait_until

NOW = datetime.now(UTC)
STOCKS, LINEAGE = TOPICS[0], TOPICS[-1]
MINUTE = timedelta(minutes=1)


@dataclass(frozen=True)
class Trial:
    owner_url: str
    reader_url: str

    def execute(self, statement: str, *values: object) -> None:
        with psycopg.connect(self.owner_url, autocommit=True) as connection:
            connection.execute(statement, values or None)


@pytest.fixture(scope="module")
def trial(services: Services) -> Iterator[Trial]:
    with trial_database(services, "operations_reads") as owner_url:
        migrate.upgrade(owner_url, "sandbox")
        yield Trial(owner_url, services.reader_database_url.replace("/financial_data", "/operations_reads"))


@pytest.fixture
def reader(trial: Trial) -> Iterator[OperationsReader]:
    opened = OperationsReader(trial.reader_url)
    yield opened
    opened.close()


@pytest.fixture
def kafka(services: Services) -> Iterator[KafkaLook]:
    opened = KafkaLook(services.kafka_bootstrap_servers)
    yield opened
    opened.close()


def batch(trial: Trial, query: str, checkpoint: str, number: int, at: datetime, rows: tuple[int, int, int]) -> None:
    trial.execute(
        "INSERT INTO stream_checkpoints (query_name, checkpoint_id, topic_id, known_since) VALUES (%s, %s, 'x', %s) "
        "ON CONFLICT DO NOTHING",
        query,
        checkpoint,
        at,
    )
    trial.execute(
        "INSERT INTO stream_batches (query_name, checkpoint_id, batch_id, epoch, offsets, rows_in, rows_new, "
        "rows_late, rows_dead_lettered, committed_at) VALUES (%s, %s, %s, 1, '{}', %s, 0, %s, %s, %s)",
        query,
        checkpoint,
        number,
        *rows,
        at,
    )


def test_the_lease_and_the_ledger_are_read(trial: Trial, reader: OperationsReader) -> None:
    assert reader.lease() is None
    assert reader.queries() == []
    trial.execute(
        "INSERT INTO stream_lease (application, epoch, owner, heartbeat_at, details) "
        "VALUES ('market_stream', 3, 'a', now(), %s)",
        json.dumps({"queries": {"events_stock": {"lag": 7}}}),
    )
    lease = reader.lease()
    assert lease is not None
    assert (lease.epoch, lease.lag, lease.desired_state) == (3, 7, "running")
    batch(trial, "events_stock", "old", 900, NOW - timedelta(hours=2), (50, 0, 0))
    batch(trial, "events_stock", "new", 4, NOW - 30 * MINUTE, (10, 1, 0))
    batch(trial, "events_stock", "new", 5, NOW - MINUTE, (20, 2, 1))
    batch(trial, "events_crypto", "one", 0, NOW - timedelta(hours=3), (5, 5, 5))
    crypto, stock = reader.queries()
    # The newest batch is that of the newest checkpoint, whatever its number.
    assert (stock.query_name, stock.batch_id, stock.rows_in, stock.rows_late, stock.rows_dead_lettered) == (
        "events_stock",
        5,
        30,
        3,
        1,
    )
    assert (crypto.query_name, crypto.batch_id, crypto.rows_in, crypto.rows_late) == ("events_crypto", 0, 0, 0)
    counted = reader.minutes(NOW - timedelta(hours=1))
    assert [(each.query_name, each.rows_in) for each in counted] == [("events_stock", 10), ("events_stock", 20)]
    assert all(each.minute.second == 0 for each in counted)


def test_the_sources_are_read_as_the_gate_keeps_them_and_nothing_is_written(
    trial: Trial, reader: OperationsReader
) -> None:
    assert reader.health() == []
    state = PostgresSourceState(trial.owner_url)
    now_us = time.time_ns() // 1_000
    with state.locked("binance"):
        calls = [Call("old", now_us - 120 * MICROSECONDS, 4), Call("a", now_us - 20 * MICROSECONDS, 2)]
        calls.append(Call("b", now_us - 10 * MICROSECONDS, 3))
        following = Held({"state": "open", "until": 1.0, "reason": "status 418"}, "stamp", 1)
        state.replace("binance", Held({}), following, calls, now_us - 3600 * MICROSECONDS)
    state.close()
    (row,) = reader.health()
    assert (row.source, row.health["reason"]) == ("binance", "status 418")
    used = {(each.source, each.seconds): each for each in reader.used(
        [Window("binance", 60), Window("binance", 3600), Window("yahoo", 60)]
    )}  # fmt: skip
    assert [used["binance", 60].used, used["binance", 3600].used, used["yahoo", 60].used] == [5, 9, 0]
    frees_at = used["binance", 60].frees_at
    assert frees_at is not None
    assert abs(frees_at.timestamp() - (now_us / MICROSECONDS + 40)) < 0.01
    assert used["yahoo", 60].frees_at is None
    switches = SourceSwitches(trial.owner_url)
    switches.record("stock", "bar60", None, "yahoo", "the preferred one")
    switches.record("crypto", "bar60", None, "binance", "the preferred one")
    switches.record("crypto", "bar60", "binance", "coingecko", "status 418")
    switches.close()
    assert [(each.asset_class, each.to_source) for each in reader.serving()] == [
        ("crypto", "coingecko"),
        ("stock", "yahoo"),
    ]
    assert [each.to_source for each in reader.switches(2)] == ["coingecko", "binance"]


def test_gaps_are_open_first_and_the_newest_first(trial: Trial) -> None:
    gaps = GapReader(trial.reader_url)
    assert (gaps.gaps(), gaps.counts()) == ([], GapCounts())
    for symbol, start, minutes, state in (
        ("AAPL", NOW - timedelta(days=3), 5, "open"),
        ("IBM", NOW - timedelta(days=1), 30, "unfillable"),
        ("MSFT", NOW - timedelta(hours=1), 2, "repairing"),
        ("GOOG", NOW - timedelta(hours=2), 9, "filled"),
    ):
        trial.execute(
            "INSERT INTO data_gaps (symbol, interval, gap_start, gap_end, cause, state, closed_at) "
            "VALUES (%s, '1m', %s, %s, 'unknown', %s, %s)",
            symbol,
            start,
            start + minutes * MINUTE,
            state,
            NOW if state in ("unfillable", "filled") else None,
        )
    assert [(each.symbol, each.minutes) for each in gaps.gaps()] == [("MSFT", 2), ("AAPL", 5), ("IBM", 30)]
    assert gaps.counts() == GapCounts(2, 7, 1, 30)
    assert len(gaps.gaps(limit=1)) == 1
    gaps.close()


def test_a_reader_without_its_database_says_so() -> None:
    away = OperationsReader("postgresql://reader@127.0.0.1:1/financial_data")
    with pytest.raises(DatabaseUnavailable):
        away.lease()


def _answers(kafka: KafkaLook) -> bool:
    try:
        return bool(kafka.topics())
    except Unreachable:
        return False


def produce(services: Services, topic: str, partition: int, values: list[bytes]) -> None:
    producer = Producer({"bootstrap.servers": services.kafka_bootstrap_servers})
    for number, value in enumerate(values):
        producer.produce(topic, value, f"key-{number}".encode(), partition)
    assert producer.flush(30) == 0


def test_topics_tell_offsets_retention_and_the_lag_of_the_streams_group(services: Services, kafka: KafkaLook) -> None:
    # A broker that has just come up has no leaders yet, and no coordinator: that must be survived, and said.
    with suppress(Unreachable):
        kafka.topics()
    wait_until(lambda: _answers(kafka), seconds=30, what="the broker's leaders")
    before = {each.name: each for each in kafka.topics()}
    assert list(before) == list(TOPICS)
    assert [len(each.partitions) for each in before.values()] == [2, 2, 1, 1, 1]
    assert before[LINEAGE].retention_ms == 24 * 3_600_000
    produce(services, STOCKS, 1, [b"{}"] * 5)
    group = Consumer({"bootstrap.servers": services.kafka_bootstrap_servers, "group.id": GROUPS[STOCKS]})
    end = before[STOCKS].partitions[1].end + 5
    group.commit(offsets=[TopicPartition(STOCKS, 1, end - 3)], asynchronous=False)
    group.close()
    after = next(each for each in kafka.topics() if each.name == STOCKS)
    assert (after.partitions[1].end, after.partitions[1].committed, after.partitions[1].lag) == (end, end - 3, 3)


def test_records_are_read_from_the_end_or_from_an_offset_and_no_group_is_made(
    services: Services, kafka: KafkaLook
) -> None:
    start = next(each for each in kafka.topics() if each.name == LINEAGE).partitions[0].end
    produce(services, LINEAGE, 0, [f'{{"n":{number}}}'.encode() for number in range(120)])

    def values(found: list[Record]) -> list[Any]:
        return [json.loads(each.value or b"")["n"] for each in found]

    newest = kafka.records(LINEAGE, None, None, 3)
    assert values(newest) == [119, 118, 117]
    assert newest[0].key == b"key-119"
    assert newest[0].at is not None
    assert abs(newest[0].at - datetime.now(UTC)) < timedelta(minutes=5)
    assert values(kafka.records(LINEAGE, 0, start + 10, 4)) == [10, 11, 12, 13]
    assert len(kafka.records(LINEAGE, 0, start, 1_000)) == MOST_MESSAGES
    assert kafka.records(LINEAGE, 0, start + 120, 10) == []
    assert kafka.records(LINEAGE, 9, None, 10) == []
    with pytest.raises(KeyError):
        kafka.records("__consumer_offsets", None, None, 10)
    admin = AdminClient({"bootstrap.servers": services.kafka_bootstrap_servers})
    groups = admin.list_consumer_groups().result(10).valid
    assert "operations-page" not in {each.group_id for each in groups}


def test_a_kafka_that_is_away_is_told_soon() -> None:
    away = KafkaLook("127.0.0.1:1")
    began = time.monotonic()
    with pytest.raises(Unreachable, match="Kafka does not answer"):
        away.topics()
    with pytest.raises(Unreachable, match="Kafka does not answer"):
        away.records(STOCKS, None, None, 10)
    assert time.monotonic() - began < 10


def test_letters_are_listed_judged_and_replayed_once(services: Services) -> None:
    publisher = KafkaPublisher(services.kafka_bootstrap_servers, MemorySpool())
    publisher.dead_letter(
        Rejected(KLINE, "put there for the page", "binance", "BTC-USD", "bar60"), time.time_ns() // 1_000
    )
    assert publisher.confirm().delivered == 1
    publisher.close()
    bench = LetterBench(services.settings)
    letter = next(each for each in bench.newest(50) if each.reason == "put there for the page")
    assert bench.get(letter.id).raw == KLINE
    (dry,) = bench.judge([letter.id])
    assert (dry.events, dry.words) == (1, "would publish 1 event")
    assert bench.get(letter.id).outcome == ""
    (done,) = bench.replay([letter.id])
    assert (done.events, done.words) == (1, "published 1 event")
    (again,) = bench.replay([letter.id])
    assert again.words == "left alone: published 1 event"
    with pytest.raises(MarketDataError, match="there is no dead letter"):
        bench.get(f"{letter.coordinates[0]}/0/{10**12}")
