"""What the supervisor reads of real PostgreSQL and Kafka: lag, what has waited for too long, the watch's own look."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]

from include.operations import backlog
from include.operations.backlog import read_backlog
from include.operations.repairs import repair_indicators, waiting_repairs
from include.operators.stream_trigger import StreamTrigger
from include.storage.lease import Lease
from tests.stores import Services


@pytest.fixture(autouse=True)
def _no_lease(services: Services) -> Iterator[None]:
    def forget() -> None:
        with psycopg.connect(services.database_url, autocommit=True) as connection:
            for table in ("stream_lease", "stream_fence", "stream_starts", "indicator_repairs"):
                connection.execute(f"DELETE FROM {table}")

    forget()
    yield
    forget()


@pytest.fixture
def topic(services: Services, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A topic of our own with two partitions, read by a query of our own."""
    name = f"lag-{uuid4().hex[:8]}"
    admin = AdminClient({"bootstrap.servers": services.kafka_bootstrap_servers})
    times = {"message.timestamp.type": "LogAppendTime"}
    admin.create_topics([NewTopic(name, num_partitions=2, replication_factor=1, config=times)])[name].result(30)
    monkeypatch.setattr(backlog, "QUERIES", {"lagging": name})
    yield name
    admin.delete_topics([name])[name].result(30)
    with psycopg.connect(services.database_url, autocommit=True) as connection:
        connection.execute("DELETE FROM stream_batches WHERE query_name = 'lagging'")
        connection.execute("DELETE FROM stream_checkpoints WHERE query_name = 'lagging'")


def produce(services: Services, topic: str, count: int, partition: int = 0) -> None:
    producer = Producer({"bootstrap.servers": services.kafka_bootstrap_servers})
    for number in range(count):
        producer.produce(topic, str(number).encode(), partition=partition)
    assert producer.flush(30) == 0


def commit(services: Services, checkpoint: str, batch_id: int, offsets: dict[str, Any]) -> None:
    with psycopg.connect(services.writer_database_url, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO stream_checkpoints (query_name, checkpoint_id, topic_id) VALUES ('lagging', %s, 't') "
            "ON CONFLICT DO NOTHING",
            (checkpoint,),
        )
        connection.execute(
            "INSERT INTO stream_batches (query_name, checkpoint_id, batch_id, epoch, offsets, rows_in, rows_new, "
            "rows_dead_lettered, rows_late) VALUES ('lagging', %s, %s, 1, %s, 1, 1, 0, 0)",
            (checkpoint, batch_id, json.dumps(offsets)),
        )


def looked(services: Services, patience_seconds: float) -> Any:
    found = read_backlog(
        services.writer_database_url, services.kafka_bootstrap_servers, datetime.now(UTC), patience_seconds
    )
    assert found is not None
    return found["lagging"]


def test_the_lag_is_kafkas_ends_less_the_ledgers(services: Services, topic: str) -> None:
    assert looked(services, 60) == backlog.QueryBacklog(0, False, None)
    produce(services, topic, 5)
    produce(services, topic, 2, partition=1)
    assert (looked(services, 60).behind, looked(services, 60).overdue) == (7, False), "they have just come"
    assert looked(services, -5).overdue, "for somebody who is less patient"

    commit(services, "first", 0, {topic: {"0": [0, 3]}})
    commit(services, "first", 1, {topic: {"1": [0, 2]}})
    found = looked(services, -5)
    assert (found.behind, found.overdue) == (2, True)
    assert datetime.now(UTC) - found.last_batch_at < timedelta(seconds=10)
    commit(services, "first", 2, {topic: {"0": [3, 5]}})
    assert (looked(services, -5).behind, looked(services, -5).overdue) == (0, False)
    # After a rebuild the new checkpoint counts from the start again.
    commit(services, "rebuilt", 0, {topic: {"0": [0, 1]}})
    assert looked(services, -5).behind == 6


def test_without_kafka_nothing_is_said_of_the_lag(services: Services) -> None:
    assert read_backlog(services.writer_database_url, "127.0.0.1:1", datetime.now(UTC), 60) is None


def watched(services: Services, seconds: float) -> tuple[Any, float]:
    until = datetime.now(UTC) + timedelta(seconds=seconds)
    began = time.monotonic()
    event = asyncio.run(StreamTrigger(until.isoformat(), 120.0).watch(services.writer_database_url))
    return event, time.monotonic() - began


def test_the_watch_sees_a_driver_live_and_give_up(services: Services) -> None:
    lease = Lease(services.writer_database_url)
    lease.acquire(f"elsewhere:{os.getpid()}", os.getpid())
    lease.heartbeat({"queries": {"events_crypto": {"lag": 3}}, "spark_ui": "http://127.0.0.1:4040"})
    event, seconds = watched(services, 2)
    assert seconds >= 2
    told = event.xcoms["return_value"]
    assert (told["state"], told["lag"], told["starts_of_late"][0]["cause"]) == ("running", 3, "by hand")
    lease.release(last_error="no such table")
    event, seconds = watched(services, 60)
    assert seconds < 5
    assert event.payload == {"why": "dead: the last one failed: no such table"}


def test_repairs_are_made_when_they_are_due_and_counted(services: Services) -> None:
    def never() -> str:
        raise AssertionError("there is nothing to repair")

    assert repair_indicators(services.writer_database_url, never) == {"waiting": 0}
    with psycopg.connect(services.writer_database_url, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO indicator_repairs (symbol, interval, window_start, recorded_at) VALUES "
            "('A', '1m', now(), now() - interval '9 s'), ('B', '1m', now(), now())"
        )
    waiting = waiting_repairs(services.writer_database_url)
    assert waiting.series == 1, "the other may still be added to"
    assert 9 <= waiting.oldest_seconds < 60
    report = repair_indicators(services.writer_database_url, lambda: '{"indicators": 40, "changed": 2}')
    assert (report["waiting"], report["indicators"], report["changed"]) == (1, 40, 2)
