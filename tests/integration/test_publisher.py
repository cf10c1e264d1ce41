"""The publisher and a real broker that is killed, frozen and picky: nothing lost, nothing out of order."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import Consumer, KafkaException, TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourceType,
)

from include.market import topics
from include.market.event import MarketEvent, decode
from include.producers.letters import read_letter
from include.producers.publisher import Delivery, KafkaPublisher
from include.producers.spool import Spool
from include.settings import PROJECT_ROOT
from include.sources.base import MINUTE_US
from include.stack.supervisor import Supervisor
from tests.stores import Services
from tests.unit.producers.told import a_bar
from tests.waiting import wait_until

STOCKS = topics.EVENTS["stock"]
SYMBOLS = ("AAPL", "MSFT", "IBM")


class Topic:
    """What came to a topic since this was made."""

    def __init__(self, servers: str, name: str) -> None:
        self._name = name
        self._consumer = Consumer(
            {"bootstrap.servers": servers, "group.id": "test", "enable.auto.commit": False, "log_level": 2}
        )
        self._from = self._ends()

    def _ends(self) -> dict[int, int]:
        """The offsets behind the last messages. A broker that has just come up may lead no partition yet."""

        def ends() -> dict[int, int] | None:
            try:
                partitions = self._consumer.list_topics(self._name, timeout=5).topics[self._name].partitions
                places = [TopicPartition(self._name, number) for number in partitions]
                return {place.partition: self._consumer.get_watermark_offsets(place, timeout=5)[1] for place in places}
            except KafkaException:
                return None

        return wait_until(ends, seconds=60, what=f"the offsets of {self._name}")

    def arrived(self) -> int:
        return sum(self._ends().values()) - sum(self._from.values())

    def values(self) -> list[bytes]:
        """All of them, each partition in its order."""
        found: dict[int, list[bytes]] = {number: [] for number in self._from}
        ends = self._ends()
        for number, end in ends.items():
            position = self._from[number]
            self._consumer.assign([TopicPartition(self._name, number, position)])
            while position < end:
                message = self._consumer.poll(30)
                assert message is not None
                assert message.error() is None
                position = (message.offset() or 0) + 1
                found[number].append(message.value() or b"")
        return [value for values in found.values() for value in values]

    def events(self) -> list[MarketEvent]:
        return [decode(value) for value in self.values()]

    def close(self) -> None:
        self._consumer.close()


@pytest.fixture
def topic(services: Services) -> Iterator[Topic]:
    made = Topic(services.kafka_bootstrap_servers, STOCKS)
    yield made
    made.close()


def batch(count: int, first: int = 0) -> list[MarketEvent]:
    """Bars of three symbols, each symbol's in the order of time."""
    numbers = range(first, first + count)
    return [a_bar(SYMBOLS[number % 3], start=(1_000_000 + number) * MINUTE_US) for number in numbers]


def broker_pid(services: Services) -> int:
    return int(Supervisor(services.plan.layout).processes()["kafka"]["pid"])


def assert_all_in_order(found: list[MarketEvent], sent: list[MarketEvent]) -> None:
    """Each fact arrived; again only under the same id and with the same content; first arrivals in order."""
    first: dict[str, MarketEvent] = {}
    for event in found:
        assert first.setdefault(event.event_id, event) == event
    for symbol in SYMBOLS:
        assert [e for e in first.values() if e.symbol == symbol] == [e for e in sent if e.symbol == symbol]


def test_the_broker_is_killed_in_the_middle_of_a_batch(services: Services, topic: Topic, tmp_path: Path) -> None:
    publisher = KafkaPublisher(services.kafka_bootstrap_servers, Spool(tmp_path / "job.sqlite", 256))
    sent = batch(60_000)
    for event in sent:
        publisher.publish(event)
    deliveries: list[Delivery] = []
    confirming = threading.Thread(target=lambda: deliveries.append(publisher.confirm()))
    confirming.start()
    wait_until(lambda: topic.arrived() > 0, seconds=30, what="the first message")
    os.kill(broker_pid(services), signal.SIGKILL)
    confirming.join()
    # The same object goes on, with new facts behind the old ones.
    more = batch(3_000, first=60_000)
    for event in more:
        publisher.publish(event)
    deliveries.append(publisher.confirm())
    wait_until(lambda: publisher.drain().spooled == 0, seconds=90, what="an empty spool")
    publisher.close()
    assert_all_in_order(topic.events(), sent + more)


def test_the_broker_is_away_for_several_batches(services: Services, topic: Topic, tmp_path: Path) -> None:
    spool = Spool(tmp_path / "job.sqlite", 256)
    publisher = KafkaPublisher(services.kafka_bootstrap_servers, spool, flush_seconds=1)
    broker = broker_pid(services)
    sent = batch(300, first=100_000)
    os.kill(broker, signal.SIGSTOP)
    try:
        for start in range(0, 300, 100):
            for event in sent[start : start + 100]:
                publisher.publish(event)
            delivery = publisher.confirm()
            assert (delivery.delivered, delivery.spooled) == (0, start + 100)
            assert delivery.reason == "no answer from Kafka within 1 s"
    finally:
        os.kill(broker, signal.SIGCONT)
    wait_until(lambda: publisher.drain().spooled == 0, seconds=60, what="an empty spool")
    publisher.close()
    assert_all_in_order(topic.events(), sent)


PRODUCER = """
import sys
from pathlib import Path
from include.producers.publisher import KafkaPublisher
from include.producers.spool import Spool
from tests.integration.test_publisher import batch
publisher = KafkaPublisher(sys.argv[1], Spool(Path(sys.argv[2]), 256))
for event in batch(3_000, first=200_000):
    publisher.publish(event)
publisher.confirm()
"""


def test_the_producer_is_killed_before_the_broker_has_answered(
    services: Services, topic: Topic, tmp_path: Path
) -> None:
    file = tmp_path / "job.sqlite"
    spool = Spool(file, 256)
    broker = broker_pid(services)
    os.kill(broker, signal.SIGSTOP)
    try:
        command = [sys.executable, "-c", PRODUCER, services.kafka_bootstrap_servers, str(file)]
        producer = subprocess.Popen(command, cwd=PROJECT_ROOT, env=services.environment)
        wait_until(lambda: spool.depth() == 3_000, seconds=30, what="the batch in the spool")
        producer.kill()
        producer.wait()
    finally:
        os.kill(broker, signal.SIGCONT)
    heir = KafkaPublisher(services.kafka_bootstrap_servers, spool)
    assert heir.drain() == Delivery(3_000)
    heir.close()
    assert_all_in_order(topic.events(), batch(3_000, first=200_000))


@pytest.fixture
def picky_topic(services: Services) -> Iterator[None]:
    """The stocks' topic takes hardly anything."""
    admin = AdminClient({"bootstrap.servers": services.kafka_bootstrap_servers, "log_level": 2})

    def alter(operation: AlterConfigOpType) -> None:
        entry = ConfigEntry("max.message.bytes", "100", incremental_operation=operation)
        resource = ConfigResource(ResourceType.TOPIC, STOCKS, incremental_configs=[entry])
        for future in admin.incremental_alter_configs([resource]).values():
            future.result(30)

    alter(AlterConfigOpType.SET)
    yield
    alter(AlterConfigOpType.DELETE)


def test_what_kafka_refuses_for_good_goes_to_the_dead_letters(
    services: Services, topic: Topic, picky_topic: None, tmp_path: Path
) -> None:
    letters = Topic(services.kafka_bootstrap_servers, topics.DEAD_LETTERS)
    spool = Spool(tmp_path / "job.sqlite", 256)
    publisher = KafkaPublisher(services.kafka_bootstrap_servers, spool)
    event = a_bar("AAPL", start=300_000 * MINUTE_US)
    publisher.publish(event)
    assert publisher.confirm() == Delivery(1, 0, refused=1)
    publisher.close()
    assert topic.arrived() == 0
    (letter,) = [read_letter(value) for value in letters.values()]
    letters.close()
    assert (letter.symbol, letter.source, letter.asked_for) == ("AAPL", "yahoo", "event")
    assert letter.reason.startswith("Kafka refuses the record: Broker: Message size too large")
    assert decode(letter.payload) == event
