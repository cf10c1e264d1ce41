"""The driver's own dealings with Kafka, beside what Spark reads: topic identity, lag for others to see, anomalies."""

from __future__ import annotations

import json
from typing import Any

import structlog
from confluent_kafka import Consumer, KafkaException, Producer, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient

from include.errors import PublishError
from include.market.topics import ANOMALIES
from include.storage.stream_store import Offsets

ANSWER_SECONDS = 15.0

log = structlog.get_logger("stream")


def topic_id(bootstrap_servers: str, topic: str) -> str:
    """The topic's own id, which another topic of the same name does not have. Raises KafkaException."""
    admin = AdminClient({"bootstrap.servers": bootstrap_servers})
    answers = admin.describe_topics(TopicCollection([topic]), request_timeout=ANSWER_SECONDS)
    return str(answers[topic].result(ANSWER_SECONDS).topic_id)


class LagMirror:
    """Commits a query's offsets to the consumer group `spark-<query>`, where Kafka's own tools show the lag.

    Nothing reads them back: the truth is Spark's checkpoint and the ledger. So a failure is only told.
    """

    def __init__(self, bootstrap_servers: str, query_name: str) -> None:
        self._group = f"spark-{query_name}"
        self._consumer = Consumer(
            {
                "bootstrap.servers": bootstrap_servers,
                "group.id": self._group,
                "enable.auto.commit": False,
                "on_commit": self._told,
            }
        )

    def __call__(self, offsets: Offsets) -> None:
        ends = [
            TopicPartition(topic, int(partition), until)
            for topic, partitions in offsets.items()
            for partition, (_, until) in partitions.items()
        ]
        try:
            self._consumer.poll(0)
            if ends:
                self._consumer.commit(offsets=ends, asynchronous=True)
        except KafkaException as failure:
            log.warning("lag is not mirrored", group=self._group, reason=str(failure))

    def close(self) -> None:
        self._consumer.close()

    def _told(self, failure: Any, partitions: list[TopicPartition]) -> None:
        if failure is not None:
            log.warning("lag is not mirrored", group=self._group, reason=str(failure))


class AnomalyTopic:
    """Sends bodies of the outbox to the topic of anomalies, key = symbol, and waits until the broker has them."""

    def __init__(self, bootstrap_servers: str) -> None:
        self._producer = Producer(
            {"bootstrap.servers": bootstrap_servers, "enable.idempotence": True, "message.timeout.ms": 10_000}
        )

    def __call__(self, bodies: list[dict[str, Any]]) -> None:
        """Raises PublishError unless all are confirmed; then all come again."""
        failures: list[str] = []

        def told(failure: Any, _message: Any) -> None:
            if failure is not None:
                failures.append(str(failure))

        for body in bodies:
            self._producer.produce(ANOMALIES, json.dumps(body).encode(), key=body["symbol"].encode(), on_delivery=told)
        unsent = self._producer.flush(ANSWER_SECONDS)
        if unsent or failures:
            raise PublishError(f"{unsent + len(failures)} anomalies not confirmed: {(failures or ['time-out'])[0]}")
