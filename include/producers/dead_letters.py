"""Dead letters, found again: what the producers refused (a Kafka topic) and what the stream did (a table)."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec
from confluent_kafka import Consumer, KafkaException, TopicPartition

from include.errors import MarketDataError
from include.market import topics
from include.market.event import MICROSECONDS
from include.producers.letters import Letter, read_letter
from include.storage.refused_records import Coordinates, RefusedRecord, RefusedRecords

#: Records of the topic that a list looks back over, a partition.
LOOK_BACK = 10_000
KAFKA_SECONDS = 15.0
_ID = re.compile(r"(?P<topic>[\w.-]+)/(?P<partition>\d+)/(?P<offset>\d+)")

#: Told how many records of how many have been read.
Progress = Callable[[int, int], None]


class DeadLetterError(MarketDataError):
    """There is no such letter, or Kafka does not give it."""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A refused fact. `asked_for` is a want's name where `raw` is a body of the source, `event` where it is an
    event of ours; empty where the letter does not say. `outcome` is that of its last replay."""

    coordinates: Coordinates
    at: datetime
    source: str
    symbol: str
    reason: str
    asked_for: str
    raw: bytes
    #: The length of what came; `raw` may be the beginning of it.
    raw_bytes: int
    outcome: str = ""

    @property
    def id(self) -> str:
        return "{}/{}/{}".format(*self.coordinates)

    @property
    def is_published(self) -> bool:
        return self.outcome.startswith("published")


@dataclass(frozen=True, slots=True)
class LetterFilter:
    """`reason` is a part of the reason, whatever its case; None takes all."""

    source: str | None = None
    symbol: str | None = None
    reason: str | None = None

    def takes(self, letter: DeadLetter) -> bool:
        return (
            self.source in (None, letter.source)
            and self.symbol in (None, letter.symbol)
            and (self.reason is None or self.reason.lower() in letter.reason.lower())
        )


class DeadLetters:
    """Both places, read without leaving a trace in either."""

    def __init__(self, bootstrap_servers: str, refused: RefusedRecords) -> None:
        self._refused = refused
        # The client wants a group's name; without a subscription or a commit there is no group.
        self._consumer = Consumer(
            {
                "bootstrap.servers": bootstrap_servers,
                "group.id": "dead-letters",
                "enable.auto.commit": False,
                "enable.partition.eof": False,
                "log_level": 2,
            }
        )

    def newest(
        self,
        wanted: LetterFilter,
        limit: int,
        progress: Progress = lambda _done, _all: None,
        look_back: int = LOOK_BACK,
    ) -> list[DeadLetter]:
        """The newest first, of the last `look_back` of each place."""
        outcomes = self._refused.outcomes()
        letters = [*self._from_topic(outcomes, progress, look_back)]
        letters += [_of_record(record, outcomes) for record in self._refused.newest(look_back)]
        found = sorted(filter(wanted.takes, letters), key=lambda letter: letter.at, reverse=True)
        return found[:limit]

    def get(self, id_: str) -> DeadLetter:
        """Raises DeadLetterError for an id that is none, or of a letter that is not there (any more)."""
        parts = _ID.fullmatch(id_)
        if parts is None:
            raise DeadLetterError(f"{id_} is no dead letter's id: take one from the list (topic/partition/offset)")
        coordinates = (parts["topic"], int(parts["partition"]), int(parts["offset"]))
        outcomes = self._refused.outcomes()
        if coordinates[0] == topics.DEAD_LETTERS:
            found = list(self._read(coordinates[1], coordinates[2], coordinates[2] + 1, outcomes))
            if found and found[0].coordinates == coordinates:
                return found[0]
        elif (record := self._refused.at(coordinates)) is not None:
            return _of_record(record, outcomes)
        raise DeadLetterError(f"there is no dead letter {id_}: Kafka may have let it go already")

    def close(self) -> None:
        self._consumer.close()

    def _from_topic(self, outcomes: dict[Coordinates, str], progress: Progress, look_back: int) -> Iterator[DeadLetter]:
        try:
            metadata = self._consumer.list_topics(topics.DEAD_LETTERS, timeout=KAFKA_SECONDS)
            ranges = {
                number: self._range(number, look_back) for number in metadata.topics[topics.DEAD_LETTERS].partitions
            }
        except KafkaException as error:
            raise _not_readable(error) from error
        total = sum(end - start for start, end in ranges.values())
        read = 0
        for number, (start, end) in ranges.items():
            for letter in self._read(number, start, end, outcomes):
                read += 1
                progress(read, total)
                yield letter

    def _range(self, partition: int, look_back: int) -> tuple[int, int]:
        place = TopicPartition(topics.DEAD_LETTERS, partition)
        low, high = self._consumer.get_watermark_offsets(place, timeout=KAFKA_SECONDS)
        return max(low, high - look_back), high

    def _read(self, partition: int, start: int, end: int, outcomes: dict[Coordinates, str]) -> Iterator[DeadLetter]:
        """The letters from `start` up to `end`, for which there must be one to come."""
        low, high = self._range_of_all(partition)
        position, end = max(start, low), min(end, high)
        if position >= end:
            return
        self._consumer.assign([TopicPartition(topics.DEAD_LETTERS, partition, position)])
        deadline = time.monotonic() + KAFKA_SECONDS
        while position < end:
            for message in self._consumer.consume(500, timeout=1.0):
                if message.error() is not None:
                    raise _not_readable(KafkaException(message.error()))
                offset = message.offset() or 0
                position = offset + 1
                deadline = time.monotonic() + KAFKA_SECONDS
                if offset < end:
                    yield _of_letter((topics.DEAD_LETTERS, partition, offset), message.value() or b"", outcomes)
            if time.monotonic() > deadline:
                raise DeadLetterError("Kafka does not give its dead letters: is the stack up? ./pipeline status")

    def _range_of_all(self, partition: int) -> tuple[int, int]:
        try:
            place = TopicPartition(topics.DEAD_LETTERS, partition)
            return self._consumer.get_watermark_offsets(place, timeout=KAFKA_SECONDS)
        except KafkaException as error:
            raise _not_readable(error) from error


def _of_letter(coordinates: Coordinates, value: bytes, outcomes: dict[Coordinates, str]) -> DeadLetter:
    try:
        letter = read_letter(value)
        raw = letter.payload
    except (msgspec.DecodeError, ValueError) as error:
        letter = Letter(
            reason=f"a dead letter that is none: {error}",
            source="",
            symbol="",
            raw="",
            raw_encoding="utf-8",
            raw_bytes=len(value),
            rejected_at=0,
        )
        raw = value
    return DeadLetter(
        coordinates=coordinates,
        at=datetime.fromtimestamp(letter.rejected_at / MICROSECONDS, UTC),
        source=letter.source,
        symbol=letter.symbol,
        reason=letter.reason,
        asked_for=letter.asked_for,
        raw=raw,
        raw_bytes=letter.raw_bytes,
        outcome=outcomes.get(coordinates, ""),
    )


def _of_record(record: RefusedRecord, outcomes: dict[Coordinates, str]) -> DeadLetter:
    coordinates = (record.topic, record.kafka_partition, record.kafka_offset)
    raw = record.payload or b""
    return DeadLetter(
        coordinates=coordinates,
        at=record.received_at,
        source=record.source or "",
        symbol=record.symbol or "",
        reason=record.reason,
        asked_for="event",
        raw=raw,
        raw_bytes=len(raw),
        outcome=outcomes.get(coordinates, ""),
    )


def _not_readable(error: KafkaException) -> DeadLetterError:
    return DeadLetterError(f"Kafka does not give its dead letters ({error.args[0].str()}): is the stack up?")
