"""Validated events to Kafka, and what is not valid to the dead letters; by way of a spool on disk, so that
nothing is lost that was once taken."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import msgspec
import structlog
from confluent_kafka import KafkaError

from include.errors import PublishError
from include.market import topics
from include.market.event import MarketEvent, encode, reason_invalid
from include.producers.kafka_sender import KafkaSender
from include.producers.letters import dead_letter_value, shortened
from include.producers.message import Message, event_message, letter_message
from include.producers.spool import MemorySpool, Spool, SpoolFull
from include.sources.base import Clock, Rejected

log = structlog.get_logger(__name__)

FLUSH_SECONDS = 20.0
#: What Kafka will never take, however often it is sent.
_POISON = frozenset(
    {
        KafkaError.MSG_SIZE_TOO_LARGE,
        KafkaError.INVALID_MSG_SIZE,
        KafkaError.INVALID_RECORD,
        KafkaError.RECORD_LIST_TOO_LARGE,
    }
)
#: Given up by us, when the time of a confirmation is over.
_PURGED = frozenset({KafkaError._PURGE_QUEUE, KafkaError._PURGE_INFLIGHT, KafkaError._TIMED_OUT})


@dataclass(frozen=True, slots=True)
class Delivery:
    """What came of a confirmation: counts of messages, those of earlier batches included."""

    #: The broker has them.
    delivered: int = 0
    #: Safe on disk, waiting for the broker.
    spooled: int = 0
    #: Events that Kafka refuses for good; they are among the dead letters now.
    refused: int = 0
    #: Why messages wait; empty where none does.
    reason: str = ""

    def after(self, earlier: Delivery) -> Delivery:
        """Both in one: counts of what was done, and how it stands now."""
        return Delivery(earlier.delivered + self.delivered, self.spooled, earlier.refused + self.refused, self.reason)


class Publisher(Protocol):
    """Takes messages at once; `confirm` makes them safe."""

    def publish(self, event: MarketEvent) -> None: ...

    def dead_letter(self, rejected: Rejected, at_us: int) -> None: ...

    def confirm(self) -> Delivery:
        """Returns, within FLUSH_SECONDS, when all that was taken is with the broker or on disk.

        Raises PublishError where it is neither: then nothing of it was kept, and it has to come again.
        """
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


class KafkaPublisher:
    """Idempotent producer, `acks=all`; one segment of the spool after the other, oldest first.

    Lives through outages: the same object goes on when the broker is back. What is sent twice (a
    confirmation that was lost, a process that was killed) has the same `event_id`.
    """

    def __init__(
        self,
        bootstrap_servers: str,
        spool: Spool | MemorySpool,
        flush_seconds: float = FLUSH_SECONDS,
        clock: Clock = lambda: time.time_ns() // 1_000,
    ) -> None:
        self._spool = spool
        self._flush_seconds = flush_seconds
        self._clock = clock
        self._pending: list[Message] = []
        self._sender = KafkaSender(bootstrap_servers)

    def publish(self, event: MarketEvent) -> None:
        self._pending.append(event_message(event))

    def dead_letter(self, rejected: Rejected, at_us: int) -> None:
        self._pending.append(letter_message(rejected, at_us))

    def confirm(self) -> Delivery:
        deadline = time.monotonic() + self._flush_seconds
        pending, self._pending = self._pending, []
        try:
            fresh = self._spool.append(pending)
        except SpoolFull:
            # Where the broker is back, sending what waits makes room.
            earlier = self._send_waiting({}, deadline)
            fresh = self._spool.append(pending)
            return self._send_waiting(fresh, deadline).after(earlier)
        return self._send_waiting(fresh, deadline)

    def drain(self) -> Delivery:
        """Sends what waits on disk, for at most FLUSH_SECONDS."""
        return self._send_waiting({}, time.monotonic() + self._flush_seconds)

    def close(self) -> None:
        """Gives up what was not confirmed; what the spool holds stays there."""
        self._sender.close()
        self._spool.close()

    def _send_waiting(self, fresh: Mapping[int, Sequence[Message]], deadline: float) -> Delivery:
        """Until all is sent, time is over, or the broker does not take a segment whole."""
        delivered = refused = 0
        reason = ""
        with self._spool.drainer(deadline - time.monotonic()) as is_ours:
            if not is_ours:
                reason = "another process is sending"
            for segment in self._spool.waiting() if is_ours else ():
                messages = fresh.get(segment) or self._spool.read(segment)
                sent, poison, reason = self._send_segment(segment, messages, deadline)
                delivered += sent
                refused += poison
                if reason or time.monotonic() > deadline:
                    break
        spooled = self._spool.depth()
        if spooled:
            reason = reason or f"more than can be sent in {self._flush_seconds:g} s"
            log.warning("publisher.waiting", messages=spooled, reason=reason)
        return Delivery(delivered, spooled, refused, reason if spooled else "")

    def _send_segment(self, segment: int, messages: Sequence[Message], deadline: float) -> tuple[int, int, str]:
        """How many were delivered, how many of them Kafka refused for good, why the rest waits."""
        delivered = refused = 0
        while messages:
            failures = self._sender.send(messages, deadline)
            left: list[Message] = []
            waits = ""
            for message in messages if failures else ():
                error = failures.get((message.topic, message.value))
                if error is None:
                    continue
                if error.code() not in _POISON:
                    waits = self._why(error)
                    left.append(message)
                elif letter := self._refused(message, error):
                    refused += message.topic != topics.DEAD_LETTERS
                    left.append(letter)
            delivered += len(messages) - len(left)
            self._spool.settle(segment, left)
            if waits:
                return delivered, refused, waits
            messages = left
        return delivered, refused, ""

    def _refused(self, message: Message, error: KafkaError) -> Message | None:
        """The dead letter of what Kafka refuses for good; None for one that it does not take either."""
        reason = f"Kafka refuses the record: {error.str()}"
        if message.topic != topics.DEAD_LETTERS:
            source = dict(message.headers)["source"]
            rejected = Rejected(message.value, reason, source, message.key.decode())  # type: ignore[arg-type]
            log.error("publisher.refused", symbol=rejected.symbol, source=source, reason=reason)
            return letter_message(rejected, self._clock())
        value = shortened(message.value)
        if value is None:
            log.error("publisher.letter_dropped", reason=reason, letter=message.value.decode())
            return None
        return Message(message.topic, message.key, value, message.headers)

    def _why(self, error: KafkaError) -> str:
        if error.code() in _PURGED:
            return f"no answer from Kafka within {self._flush_seconds:g} s"
        return error.str()


@dataclass(slots=True)
class ListPublisher:
    """The in-memory twin: keeps what was confirmed."""

    events: list[MarketEvent] = field(default_factory=list)
    dead_letters: list[dict[str, Any]] = field(default_factory=list)
    #: No broker: what is confirmed waits, and is delivered first when there is one again.
    is_offline: bool = False
    #: So many messages of the next batch are neither delivered nor on disk: nothing of it is kept.
    unconfirmed: int = 0
    _pending: list[MarketEvent | dict[str, Any]] = field(default_factory=list)
    _spooled: list[MarketEvent | dict[str, Any]] = field(default_factory=list)

    def publish(self, event: MarketEvent) -> None:
        self._pending.append(event)

    def dead_letter(self, rejected: Rejected, at_us: int) -> None:
        self._pending.append(msgspec.json.decode(dead_letter_value(rejected, at_us)))

    def confirm(self) -> Delivery:
        pending, self._pending = self._pending, []
        missing, self.unconfirmed = min(self.unconfirmed, len(pending)), 0
        if missing:
            raise PublishError(f"{missing} of {len(pending)} messages are neither delivered nor on disk: asked for")
        self._spooled += pending
        if self.is_offline:
            return Delivery(0, len(self._spooled), reason="asked for" if self._spooled else "")
        sent, self._spooled = self._spooled, []
        for message in sent:
            if isinstance(message, MarketEvent):
                self.events.append(message)
            else:
                self.dead_letters.append(message)
        return Delivery(len(sent))

    def close(self) -> None:
        """Nothing to give up."""
