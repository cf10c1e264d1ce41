"""One run of the stream under faults: what was sent, what stands in the tables, and what must hold between them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import redis
from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition

from include.market.topics import ANOMALIES, EVENTS
from include.storage.lease import read_stream_state
from include.storage.supervision import SupervisionStore
from spark_jobs.failpoints import VARIABLE
from tests.driver import Driver
from tests.faults.feed import Record
from tests.stores import Services
from tests.topics import recreate_topics
from tests.waiting import wait_until

CHUNK = 60
TOPICS = [*EVENTS.values(), ANOMALIES]
EMPTIED = (
    "market_events, candles, candle_partials, indicators, indicator_repairs, price_anomalies, anomaly_outbox, "
    "late_events, dead_letters, stream_batches, stream_checkpoints, stream_lease, stream_fence, stream_starts"
)
#: What must be equal in every run; times of writing and Kafka's coordinates apart.
TABLES = {
    "market_events": "SELECT event_id, revision, symbol, kind, event_time, open, high, low, close, volume "
    "FROM market_events ORDER BY event_id, revision",
    "candles": "SELECT symbol, interval, window_start, open, high, low, close, volume, vwap, event_count, source, "
    "is_final FROM candles ORDER BY symbol, interval, window_start",
    "indicators": "SELECT symbol, interval, window_start, sma_20, ema_12, ema_26, bollinger_upper, bollinger_middle, "
    "bollinger_lower, volatility_20, log_return FROM indicators ORDER BY symbol, interval, window_start",
    "price_anomalies": "SELECT symbol, interval, window_start, metric, value, mean, stddev, z_score, severity "
    "FROM price_anomalies ORDER BY symbol, interval, window_start, metric",
    "dead_letters": "SELECT topic, reason, payload, count(*) FROM dead_letters "
    "GROUP BY topic, reason, payload ORDER BY topic, reason, payload",
}
Rows = dict[str, list[tuple[Any, ...]]]


class World:
    """The services with empty tables and topics, the records to send, and the drivers of this run."""

    def __init__(self, services: Services, records: Sequence[Record], logs: Path) -> None:
        self.services = services
        self.records = records
        self.sent = 0
        self.drivers: list[Driver] = []
        self._logs = logs
        self._producer = Producer(
            {"bootstrap.servers": services.kafka_bootstrap_servers, "enable.idempotence": True, "linger.ms": 0}
        )
        self._empty()

    # -- what a run does

    def driver(self, *arguments: str, failpoint: str | None = None, **environment: str) -> Driver:
        """Start one; `failpoint` as spark_jobs/failpoints.py says."""
        given = environment | ({VARIABLE: failpoint} if failpoint else {})
        log = self._logs / f"driver-{len(self.drivers)}.log"
        driver = Driver(self.services, log, *arguments, environment=given)
        self.drivers.append(driver)
        return driver

    def bury(self, driver: Driver) -> int:
        """Wait until it is gone, and say so as the supervisor does; its exit code."""
        code = driver.process.wait(60)
        state = read_stream_state(self.services.database_url)
        store = SupervisionStore(self.services.database_url)
        if state is not None:
            store.expire(state.epoch, "its process is gone")
        store.close()
        return code

    def feed(self, chunks: int = 1) -> None:
        """Send the next records and wait until the broker has them."""
        for record in self.records[self.sent : self.sent + chunks * CHUNK]:
            self._producer.produce(record.topic, record.value, key=record.key)
        self.sent = min(len(self.records), self.sent + chunks * CHUNK)
        assert self._producer.flush(60) == 0, "the broker did not take the records"

    def feed_until(self, condition: Callable[[], bool], what: str, seconds: float = 90) -> None:
        """Send chunk by chunk, each when the one before is committed, until the condition holds."""
        while not condition():
            assert self.sent < len(self.records), f"all is sent, and not yet: {what}"
            self.feed()
            wait_until(lambda: condition() or self.is_settled(), seconds=seconds, what=what)

    def feed_and_commit(self, chunks: int = 2) -> None:
        """Some more records, and wait until the driver has committed them."""
        self.feed(chunks)
        self.settle()

    def finish(self) -> None:
        """Send what is left, and wait until all of it is committed and told."""
        self.feed(len(self.records) // CHUNK + 1)
        self.settle()
        wait_until(lambda: self.rows_of("SELECT count(*) FROM anomaly_outbox") == [(0,)], seconds=60, what="outbox")

    def settle(self, seconds: float = 120) -> None:
        wait_until(self.is_settled, seconds=seconds, what="all records in the ledger")

    def end(self) -> None:
        for driver in self.drivers:
            if driver.is_running:
                driver.kill()

    # -- what can be seen

    def is_settled(self) -> bool:
        """Whether the newest checkpoint's ledger has every record of the topics."""
        return self.ledger_ends() == {place: end for place, end in self.log_ends().items() if end}

    def log_ends(self) -> dict[tuple[str, int], int]:
        with self._consumer() as consumer:
            return {
                (topic, partition): consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=30)[1]
                for topic in EVENTS.values()
                for partition in (0, 1)
            }

    def ledger_ends(self) -> dict[tuple[str, int], int]:
        ends: dict[tuple[str, int], int] = {}
        newest = (
            "SELECT b.offsets FROM stream_batches b WHERE checkpoint_id = (SELECT checkpoint_id FROM "
            "stream_checkpoints c WHERE c.query_name = b.query_name ORDER BY known_since DESC LIMIT 1)"
        )
        for (offsets,) in self.rows_of(newest):
            for topic, partitions in offsets.items():
                for partition, (_, until) in partitions.items():
                    place = (topic, int(partition))
                    ends[place] = max(until, ends.get(place, 0))
        return ends

    def committed_batches(self, epoch: int | None = None) -> int:
        rows = self.rows_of("SELECT count(*) FROM stream_batches WHERE %s::bigint IS NULL OR epoch = %s", epoch, epoch)
        return int(rows[0][0])

    def rows_of(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.services.database_url, connect_timeout=5) as connection:
            return connection.execute(statement, values or None).fetchall()

    def rows(self) -> Rows:
        return {name: self.rows_of(statement) for name, statement in TABLES.items()}

    def prices(self) -> dict[str, str]:
        with self._redis() as client:
            return {key: client.get(key) for key in sorted(client.scan_iter("price:*"))}

    def anomalies_told(self) -> set[str]:
        """The ids whose last word on the topic is that they stand."""
        last: dict[str, str] = {}
        with self._consumer() as consumer:
            end = consumer.get_watermark_offsets(TopicPartition(ANOMALIES, 0), timeout=30)[1]
            consumer.assign([TopicPartition(ANOMALIES, 0, OFFSET_BEGINNING)])
            for _ in range(end):
                message = wait_until(lambda: consumer.poll(0.1), seconds=30, what="an anomaly on its topic")
                body = json.loads(message.value())
                last[body["anomaly_id"]] = body["state"]
        return {name for name, state in last.items() if state == "raised"}

    # -- what must hold

    def check(self, undisturbed: Rows, but: Collection[str] = ()) -> None:
        """Nothing lost, nothing doubled, all figures equal, and a ledger without holes."""
        for name, rows in self.rows().items():
            if name in but:
                continue
            assert rows == undisturbed[name], _difference(name, rows, undisturbed[name])
        self.check_ledger()
        stand = self.rows_of(
            "SELECT concat_ws(':', symbol, interval, (extract(epoch FROM window_start) * 1000000)::bigint, metric) "
            "FROM price_anomalies"
        )
        assert self.anomalies_told() == {name for (name,) in stand}

    def check_ledger(self) -> None:
        """The ranges of each checkpoint and partition follow one another, count every record, and balance."""
        ends: dict[tuple[str, str, str], int] = {}
        ledger = self.rows_of("SELECT checkpoint_id, offsets, rows_in FROM stream_batches ORDER BY committed_at")
        for checkpoint, offsets, rows_in in ledger:
            spans = [(topic, number, *span) for topic, part in offsets.items() for number, span in part.items()]
            assert rows_in == sum(until - first for _, _, first, until in spans)
            for topic, number, first, until in spans:
                assert ends.get((checkpoint, topic, number), 0) == first, "a hole or an overlap in the ledger"
                ends[checkpoint, topic, number] = until
        # What each batch says that it stored, by number and control sum, is what stands.
        assert self.rows_of(
            "SELECT * FROM market.ledger_balance('-infinity', 'infinity') "
            "WHERE rows_new <> rows_stored OR control_sum IS DISTINCT FROM control_stored"
        ) == []  # fmt: skip

    # -- inside

    def _empty(self) -> None:
        recreate_topics(self.services.kafka_bootstrap_servers, TOPICS)
        with psycopg.connect(self.services.database_url) as connection:
            connection.execute(f"TRUNCATE {EMPTIED}")
        with self._redis() as client:
            client.flushall()
        shutil.rmtree(self.services.plan.layout.state / "checkpoints", ignore_errors=True)

    def _redis(self) -> redis.Redis:
        return redis.Redis.from_url(self.services.redis_url, decode_responses=True)

    @contextmanager
    def _consumer(self) -> Iterator[Consumer]:
        consumer = Consumer({"bootstrap.servers": self.services.kafka_bootstrap_servers, "group.id": "looks"})
        try:
            yield consumer
        finally:
            consumer.close()


def _difference(name: str, rows: list[tuple[Any, ...]], expected: list[tuple[Any, ...]]) -> str:
    lost = [row for row in expected if row not in rows]
    more = [row for row in rows if row not in expected]
    return f"{name}: {len(lost)} rows missing, {len(more)} that should not be; first {lost[:2]} and {more[:2]}"
