"""Validated events to Kafka, and what is not valid to the dead letters; nothing is believed sent
before the broker has confirmed it."""

from __future__ import annotations

import base64
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

import msgspec
from confluent_kafka import KafkaError, Message, Producer

from include.errors import PublishError
from include.market import topics
from include.market.event import MarketEvent, encode, reason_invalid
from include.sources.base import Rejected

FLUSH_SECONDS = 20.0
#: The broker takes messages of up to a megabyte; a dead letter keeps the beginning of a larger body.
MAX_RAW_BYTES = 256 * 1024

_Headers = list[tuple[str, str | bytes | None]]


class Publisher(Protocol):
    """Takes messages at once; `confirm` is the only proof that they arrived."""

    def publish(self, event: MarketEvent) -> None: ...

    def dead_letter(self, rejected: Rejected, at_us: int) -> None: ...

    def confirm(self) -> int:
        """How many messages the broker confirmed since the last call. Raises PublishError, naming how
        many it did not, within FLUSH_SECONDS."""
        ...

    def close(self) -> None: ...


def publish_valid(publisher: Publisher, event: MarketEvent, now_us: int) -> bool:
    """The event to its topic, or, where it is not valid, to the dead letters; says which (True: valid)."""
    reason = reason_invalid(event, now_us)
    if reason is None:
        publisher.publish(event)
        return True
    publisher.dead_letter(Rejected(encode(event), reason, event.source, event.symbol), now_us)
    return False


def dead_letter_value(rejected: Rejected, at_us: int) -> bytes:
    """The dead letter's JSON: `{reason, source, symbol, raw, raw_encoding, raw_bytes, rejected_at}`.

    `raw` is the text as it came, or base64 where it is no UTF-8 (`raw_encoding` says which), cut at
    MAX_RAW_BYTES (`raw_bytes` is the whole length). `rejected_at` in UTC epoch microseconds.
    """
    raw = rejected.raw[:MAX_RAW_BYTES]
    try:
        text, encoding = raw.decode("utf-8"), "utf-8"
    except UnicodeDecodeError:
        text, encoding = base64.b64encode(raw).decode("ascii"), "base64"
    return msgspec.json.encode(
        {
            "reason": rejected.reason,
            "source": rejected.source,
            "symbol": rejected.symbol,
            "raw": text,
            "raw_encoding": encoding,
            "raw_bytes": len(rejected.raw),
            "rejected_at": at_us,
        }
    )


@dataclass(slots=True)
class _Batch:
    """The delivery reports of the messages between two confirmations."""

    sent: int = 0
    delivered: int = 0
    first_error: str = ""

    def report(self, error: KafkaError | None, _message: Message) -> None:
        if error is None:
            self.delivered += 1
        elif not self.first_error:
            self.first_error = error.str()


class KafkaPublisher:
    """Idempotent producer, `acks=all`; the key is the symbol, so one symbol keeps its order."""

    def __init__(
        self,
        bootstrap_servers: str,
        flush_seconds: float = FLUSH_SECONDS,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._flush_seconds = flush_seconds
        self._monotonic = monotonic
        self._batch = _Batch()
        config: dict[str, Any] = {
            "bootstrap.servers": bootstrap_servers,
            "client.id": "market-ingestion",
            "enable.idempotence": True,
            "acks": "all",
            "compression.type": "lz4",
            "linger.ms": 20,
            # The partition that Java's clients (Spark, Kafka's own tools) give to the same key.
            "partitioner": "murmur2_random",
            # A message must be dead before the batch that waits for it gives up: a later delivery
            # would be one that nobody counted.
            "message.timeout.ms": int(flush_seconds * 800),
            # A topic that is missing is reported at once, not after half a minute of hope.
            "topic.metadata.propagation.max.ms": 3_000,
            "logger": logging.getLogger("include.producers.kafka"),
        }
        self._producer = Producer(config)

    def publish(self, event: MarketEvent) -> None:
        headers: _Headers = [("source", event.source), ("schema_version", str(event.schema_version))]
        self._send(topics.EVENTS[event.asset_class], event.symbol, encode(event), headers)

    def dead_letter(self, rejected: Rejected, at_us: int) -> None:
        value = dead_letter_value(rejected, at_us)
        self._send(topics.DEAD_LETTERS, rejected.symbol, value, [("source", rejected.source)])

    def confirm(self) -> int:
        self._producer.flush(self._flush_seconds)
        batch, self._batch = self._batch, _Batch()
        if batch.delivered < batch.sent:
            missing = batch.sent - batch.delivered
            why = batch.first_error or f"no answer within {self._flush_seconds:g} s"
            raise PublishError(f"Kafka did not confirm {missing} of {batch.sent} messages: {why}")
        return batch.delivered

    def close(self) -> None:
        """Gives up what is not confirmed yet."""
        self._producer.purge()
        self._producer.flush(1.0)

    def _send(self, topic: str, key: str, value: bytes, headers: _Headers) -> None:
        deadline = self._monotonic() + self._flush_seconds
        while True:
            try:
                self._producer.produce(topic, value, key.encode(), headers=headers, on_delivery=self._batch.report)
            except BufferError:
                # The client's own queue is full: delivery reports make room.
                if self._monotonic() > deadline:
                    raise PublishError("Kafka takes no messages: the local queue stays full") from None
                self._producer.poll(0.5)
            else:
                self._batch.sent += 1
                self._producer.poll(0)
                return


@dataclass(slots=True)
class ListPublisher:
    """The in-memory twin: keeps what was confirmed; `unconfirmed` messages of the next batch fail."""

    events: list[MarketEvent] = field(default_factory=list)
    dead_letters: list[dict[str, Any]] = field(default_factory=list)
    unconfirmed: int = 0
    _waiting: list[Callable[[], None]] = field(default_factory=list)

    def publish(self, event: MarketEvent) -> None:
        self._waiting.append(partial(self.events.append, event))

    def dead_letter(self, rejected: Rejected, at_us: int) -> None:
        letter = msgspec.json.decode(dead_letter_value(rejected, at_us))
        self._waiting.append(partial(self.dead_letters.append, letter))

    def confirm(self) -> int:
        waiting, self._waiting = self._waiting, []
        missing, self.unconfirmed = min(self.unconfirmed, len(waiting)), 0
        for deliver in waiting[: len(waiting) - missing]:
            deliver()
        if missing:
            raise PublishError(f"Kafka did not confirm {missing} of {len(waiting)} messages: asked for")
        return len(waiting)

    def close(self) -> None:
        """Nothing to give up."""
