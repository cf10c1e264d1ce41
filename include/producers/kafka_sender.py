"""The Kafka client: a batch goes out whole, in order, and every message is accounted for."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Producer
from confluent_kafka import Message as KafkaMessage

from include.producers.message import Message

#: A purge reports at once what it gives up.
_PURGE_SECONDS = 5.0

#: What did not arrive, by topic and value.
Failures = Mapping[tuple[str, bytes], KafkaError]


class KafkaSender:
    """Idempotent, `acks=all`. The same object goes on when a broker is back."""

    def __init__(self, bootstrap_servers: str) -> None:
        self._bootstrap_servers = bootstrap_servers
        self._producer = _producer(bootstrap_servers)

    def send(self, messages: Sequence[Message], deadline: float) -> Failures:
        """What Kafka did not take until the deadline (monotonic seconds); all that is not in it has arrived."""
        failures: dict[tuple[str, bytes], KafkaError] = {}

        def failed(error: KafkaError | None, message: KafkaMessage) -> None:
            if error is not None:
                failures[message.topic() or "", message.value() or b""] = error

        produce: Any = self._producer.produce
        for message in messages:
            try:
                produce(message.topic, message.value, message.key, headers=message.headers, on_delivery=failed)
            except (KafkaException, BufferError) as error:
                failures[message.topic, message.value] = _kafka_error(error)
        if self._producer.flush(max(0.0, deadline - time.monotonic())):
            # All together, so that none overtakes another of its key; the reports say which had arrived.
            self._producer.purge()
            if self._producer.flush(_PURGE_SECONDS):
                self._renew()
                silence = KafkaError(KafkaError._TIMED_OUT)
                return {(message.topic, message.value): silence for message in messages}
        if any(error.fatal() for error in failures.values()):
            self._renew()
        return failures

    def _renew(self) -> None:
        """A producer that has lost count of its sequence can only be replaced."""
        self._producer.purge()
        self._producer = _producer(self._bootstrap_servers)

    def close(self) -> None:
        """Gives up what is on its way."""
        self._producer.purge()
        self._producer.flush(_PURGE_SECONDS)


def _kafka_error(error: Exception) -> KafkaError:
    reason = error.args[0]
    return reason if isinstance(reason, KafkaError) else KafkaError(KafkaError._QUEUE_FULL)


def _producer(bootstrap_servers: str) -> Producer:
    config: dict[str, Any] = {
        "bootstrap.servers": bootstrap_servers,
        "client.id": "market-ingestion",
        "enable.idempotence": True,
        "acks": "all",
        "compression.type": "lz4",
        "linger.ms": 20,
        # The partition that Java's clients (Spark, Kafka's own tools) give to the same key.
        "partitioner": "murmur2_random",
        # Messages are given up together by a purge, and never one by one: one that runs out of time
        # before its successor would lose its place in the order of its key.
        "message.timeout.ms": 0,
        # A callback for each message costs more than to send it; an empty queue without an error is the
        # proof for all of them.
        "delivery.report.only.error": True,
        # Not ten times a second: each failed try is a line in the log.
        "reconnect.backoff.ms": 1_000,
        "reconnect.backoff.max.ms": 2_000,
        # A topic that is missing is reported at once, not after half a minute of hope.
        "topic.metadata.propagation.max.ms": 3_000,
        "logger": logging.getLogger("include.producers.kafka"),
    }
    return Producer(config)
