"""A look into Kafka that leaves no trace: topics, offsets, a group's lag, and records as they lie there."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from threading import Lock
from typing import Any, TypeVar

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka import Message as KafkaMessage
from confluent_kafka.admin import AdminClient, ConfigResource  # type: ignore[attr-defined]

from include.errors import Unreachable
from include.market.topics import ANOMALIES, DEAD_LETTERS, EVENTS, LINEAGE

#: A page waits for this: an answer comes in milliseconds or not at all.
ANSWER_SECONDS = 3.0
READ_SECONDS = 4.0
#: Retention is changed by people, seldom.
RETENTION_SECONDS = 60.0
MOST_MESSAGES = 50
#: In the order in which they are shown.
TOPICS = (*EVENTS.values(), DEAD_LETTERS, ANOMALIES, LINEAGE)
#: Where the stream mirrors its offsets, so that Kafka's own tools show its lag; see spark_jobs/broker.py.
GROUPS = {topic: f"spark-events_{asset_class}" for asset_class, topic in EVENTS.items()}

Found = TypeVar("Found")


@dataclass(frozen=True, slots=True)
class PartitionLook:
    """`first` is the oldest offset that is kept, `end` the one behind the newest; `committed` is the group's."""

    number: int
    first: int
    end: int
    committed: int | None = None

    @property
    def kept(self) -> int:
        return self.end - self.first

    @property
    def lag(self) -> int | None:
        """Records that the group has not taken; None without a group or before its first commit."""
        return None if self.committed is None else max(0, self.end - max(self.committed, self.first))


@dataclass(frozen=True, slots=True)
class TopicLook:
    """One topic as the broker has it. `is_there` is false for one that was declared and is missing."""

    name: str
    partitions: tuple[PartitionLook, ...] = ()
    #: How long records are kept; None: the broker does not say, or for ever.
    retention_ms: int | None = None
    group: str | None = None
    is_there: bool = True

    @property
    def kept(self) -> int:
        return sum(each.kept for each in self.partitions)

    @property
    def lag(self) -> int | None:
        known = [each.lag for each in self.partitions if each.lag is not None]
        return sum(known) if known else None


@dataclass(frozen=True, slots=True)
class Record:
    """One record. `at` is its timestamp as the broker has it; key and value are bytes as they came."""

    topic: str
    partition: int
    offset: int
    at: datetime | None
    key: bytes | None
    value: bytes | None


class KafkaLook:
    """One client for all who look. Safe to call from several threads; what is read is read by one at a time."""

    def __init__(self, servers: str) -> None:
        self._servers = servers
        self._lock = Lock()
        self._admin: AdminClient | None = None
        self._consumer: Consumer | None = None
        self._groups: dict[str, Consumer] = {}
        self._retention: tuple[float, dict[str, int]] | None = None

    def topics(self) -> list[TopicLook]:
        """Every topic of ours, in the order of TOPICS. Raises Unreachable."""
        return self._asked(self._topics)

    def records(self, topic: str, partition: int | None, offset: int | None, limit: int) -> list[Record]:
        """The newest `limit` records, newest first; with an offset those from it on, oldest first.

        `partition` None is all of them. Only topics of ours are read: KeyError for another. Raises Unreachable.
        """
        if topic not in TOPICS:
            raise KeyError(topic)
        return self._asked(lambda: self._records(topic, partition, offset, min(limit, MOST_MESSAGES)))

    def close(self) -> None:
        with self._lock:
            for consumer in (self._consumer, *self._groups.values()):
                if consumer is not None:
                    consumer.close()
            self._consumer, self._admin, self._groups = None, None, {}

    def _asked(self, question: Callable[[], Found]) -> Found:
        with self._lock:
            try:
                return question()
            except KafkaException as error:
                raise Unreachable(f"Kafka does not answer: {error.args[0].str()}") from error

    def _topics(self) -> list[TopicLook]:
        known = self._connected_consumer().list_topics(timeout=ANSWER_SECONDS).topics
        retention = self._retention_of([name for name in TOPICS if name in known])
        return [
            TopicLook(
                name, self._partitions(name, sorted(known[name].partitions)), retention.get(name), GROUPS.get(name)
            )
            if name in known
            else TopicLook(name, is_there=False)
            for name in TOPICS
        ]

    def _partitions(self, topic: str, numbers: Sequence[int]) -> tuple[PartitionLook, ...]:
        consumer, committed = self._connected_consumer(), self._committed(topic, numbers)
        found = []
        for number in numbers:
            first, end = consumer.get_watermark_offsets(TopicPartition(topic, number), timeout=ANSWER_SECONDS)
            found.append(PartitionLook(number, first, end, committed.get(number)))
        return tuple(found)

    def _committed(self, topic: str, numbers: Sequence[int]) -> dict[int, int]:
        """What the stream's group has committed; nothing where it never did.

        Asked by a consumer in the group's name, which neither joins it nor commits: the admin client's own question
        ends the whole process when the group's coordinator is not there yet (librdkafka takes an error of OffsetFetch
        to a consumer group that an admin client does not have).
        """
        if topic not in GROUPS:
            return {}
        group = GROUPS[topic]
        if group not in self._groups:
            self._groups[group] = self._new_consumer(group)
        asked = [TopicPartition(topic, number) for number in numbers]
        found = self._groups[group].committed(asked, timeout=ANSWER_SECONDS)
        return {each.partition: int(each.offset) for each in found if each.offset >= 0}

    def _retention_of(self, names: Sequence[str]) -> dict[str, int]:
        """By topic, in milliseconds; without those that are kept for ever."""
        if self._retention is None or time.monotonic() > self._retention[0] + RETENTION_SECONDS:
            if self._admin is None:
                self._admin = AdminClient({"bootstrap.servers": self._servers, "log_level": 0})
            self._retention = (time.monotonic(), _retention(self._admin, names))
        return self._retention[1]

    def _records(self, topic: str, partition: int | None, offset: int | None, limit: int) -> list[Record]:
        consumer = self._connected_consumer()
        known = consumer.list_topics(topic, timeout=ANSWER_SECONDS).topics[topic].partitions
        chosen = [number for number in sorted(known) if partition in (None, number)]
        starts: dict[int, int] = {}
        for number in chosen:
            low, high = consumer.get_watermark_offsets(TopicPartition(topic, number), timeout=ANSWER_SECONDS)
            start = max(low, high - limit) if offset is None else max(low, offset)
            if start < high:
                starts[number] = start
        found = _read(consumer, topic, starts, limit)
        if offset is None:
            return sorted(found, key=_age, reverse=True)[:limit]
        return sorted(found, key=lambda each: (each.offset, each.partition))[:limit]

    def _connected_consumer(self) -> Consumer:
        if self._consumer is None:
            # The client wants a group's name; without a subscription or a commit there is no group.
            self._consumer = self._new_consumer("operations-page")
        return self._consumer

    def _new_consumer(self, group: str) -> Consumer:
        return Consumer(
            {
                "bootstrap.servers": self._servers,
                "group.id": group,
                "enable.auto.commit": False,
                "enable.auto.offset.store": False,
                "enable.partition.eof": True,
                "auto.offset.reset": "earliest",
                "queued.max.messages.kbytes": 16_384,
                "log_level": 0,
            }
        )


def _read(consumer: Consumer, topic: str, starts: Mapping[int, int], limit: int) -> list[Record]:
    """At most `limit` records of each partition, from its start to its end; what comes in READ_SECONDS."""
    found: dict[int, list[Record]] = {number: [] for number in starts}
    waiting = set(starts)
    if not waiting:
        return []
    consumer.assign([TopicPartition(topic, number, start) for number, start in starts.items()])
    deadline = time.monotonic() + READ_SECONDS
    try:
        while waiting and time.monotonic() < deadline:
            for message in consumer.consume(MOST_MESSAGES, timeout=0.2):
                number = message.partition() or 0
                error = message.error()
                if error is not None and error.code() != KafkaError._PARTITION_EOF:
                    raise KafkaException(error)
                if error is None and number in waiting:
                    found[number].append(_record(message))
                if error is not None or len(found.get(number, ())) >= limit:
                    waiting.discard(number)
    finally:
        consumer.unassign()
    if waiting and not any(found.values()):
        raise KafkaException(KafkaError(KafkaError._TIMED_OUT))
    return [record for records in found.values() for record in records]


def _record(message: KafkaMessage) -> Record:
    kind, millis = message.timestamp()
    at = datetime.fromtimestamp(millis / 1000, UTC) if kind and millis >= 0 else None
    key: Any = message.key()
    return Record(
        message.topic() or "",
        message.partition() or 0,
        message.offset() or 0,
        at,
        key.encode() if isinstance(key, str) else key,
        message.value(),
    )


def _age(record: Record) -> tuple[float, int, int]:
    return (record.at.timestamp() if record.at else 0.0, record.offset, record.partition)


def _retention(admin: AdminClient, names: Iterable[str]) -> dict[str, int]:
    resources = [ConfigResource(ConfigResource.Type.TOPIC, name) for name in names]
    if not resources:
        return {}
    asked = admin.describe_configs(resources, request_timeout=ANSWER_SECONDS)
    told = {each.name: answer.result(ANSWER_SECONDS).get("retention.ms") for each, answer in asked.items()}
    return {name: int(entry.value) for name, entry in told.items() if entry is not None and int(entry.value) >= 0}
