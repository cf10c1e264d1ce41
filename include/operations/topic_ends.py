"""What Kafka holds of the events' topics, for the ledger to be compared with."""

from __future__ import annotations

from confluent_kafka import KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]

from include.errors import Unreachable
from include.market.topics import EVENTS
from include.storage.quality_store import TopicEnd

ANSWER_SECONDS = 10.0


def topic_ends(servers: str) -> list[TopicEnd]:
    """First and end offset of each partition, with the topic's own id. Raises Unreachable."""
    try:
        return _ends(servers)
    except KafkaException as error:
        raise Unreachable(f"Kafka does not answer: {error.args[0].str()}") from error


def _ends(servers: str) -> list[TopicEnd]:
    admin = AdminClient({"bootstrap.servers": servers, "log_level": 3})
    topics = list(EVENTS.values())
    described = admin.describe_topics(TopicCollection(topics), request_timeout=ANSWER_SECONDS)
    found = []
    for topic in topics:
        description = described[topic].result(ANSWER_SECONDS)
        partitions = [TopicPartition(topic, part.id) for part in description.partitions]
        first, end = (
            {
                place.partition: answer.result(ANSWER_SECONDS).offset
                for place, answer in admin.list_offsets(
                    dict.fromkeys(partitions, spec), request_timeout=ANSWER_SECONDS
                ).items()
            }
            for spec in (OffsetSpec.earliest(), OffsetSpec.latest())  # type: ignore[no-untyped-call]
        )
        found += [TopicEnd(topic, part, first[part], end[part], str(description.topic_id)) for part in sorted(end)]
    return found
