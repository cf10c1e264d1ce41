"""The driver's own dealings with Kafka, beside what Spark reads: topic identity, lag for others to see, anomalies."""

from __future__ import annotations

import json
from typing import Any

from confluent_kafka import Consumer, Producer, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient

from include.errors import PublishError
from include.market.topics import ANOMALIES
from include.storage.stream_store import Offsets

ANSWER_SECONDS = 15.0


def topic_id(bootstrap_servers: str, topic: str) -> str:
    """The topic's own id, which another topic of the same name does not have. Raises KafkaException."""
    admin = AdminClient({"bootstrap.servers": bootstrap_servers})
    answers = admin.describe_topics(TopicCollection([topic]), request_timeout=ANSWER_SECONDS)
    return str(answers[topic].result(ANSWER_SECONDS).topic_id)


class LagMirror:
    """Commits a query's offsets to the consumer group `spark-<query>`, where Kafka's own tools show the lag.

    Nothing reads them back: the truth is Spark's checkpoint and the ledger.
    """

    def __init__(self, bootstrap_servers: str, query_name: str) -> None:
        self._consumer = Consumer(
            {
                "bootstrap.servers": bootstrap_servers,
                "group.id": f"spark-{query_name}",
                "enable.auto.commit": False,
            }
        )
        self._ends: dict[tuple[str, int], int] = {}
        self._sent: dict[tuple[str, int], int] = {}

    def note(self, offsets: Offsets) -> None:
        """Remember where a batch ended; cheap, for the batch's own thread."""
        ends = {
            (topic, int(partition)): until
            for topic, partitions in offsets.items()
            for partition, (_, until) in partitions.items()
        }
        self._ends = self._ends | ends

    def send(self) -> None:
        """Tell Kafka what it does not know yet; waits for its answer. Raises KafkaException."""
        ends = self._ends
        if ends == self._sent:
            return
        wanted = [TopicPartition(topic, partition, until) for (topic, partition), until in ends.items()]
        self._consumer.commit(offsets=wanted, asynchronous=False)
        self._sent = ends


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
