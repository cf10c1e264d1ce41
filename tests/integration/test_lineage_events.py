"""Lineage events on the real Kafka: as they stand in the journal, in order, and told apart where it is away."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, TopicPartition

from include.errors import PublishError
from include.market.topics import LINEAGE
from include.operations import lineage_shipping
from include.operations.lineage_journal import Journal
from include.operations.lineage_shipping import ship, ways
from tests.stores import Services


def received(servers: str, count: int) -> list[tuple[str, dict[str, Any]]]:
    """Key and value of the topic's last events."""
    consumer = Consumer({"bootstrap.servers": servers, "group.id": "lineage-test", "enable.auto.commit": False})
    try:
        partition = TopicPartition(LINEAGE, 0)
        _, end = consumer.get_watermark_offsets(partition, timeout=10)
        consumer.assign([TopicPartition(LINEAGE, 0, end - count)])
        messages = consumer.consume(count, timeout=20)
        return [(message.key().decode(), json.loads(message.value())) for message in messages]
    finally:
        consumer.close()


def test_the_topic_has_what_the_journal_has(services: Services, tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    events = [{"n": n, "job": {"namespace": "market-data.sandbox", "name": f"job-{n % 2}"}} for n in range(20)]
    journal.append(*events)
    told = ship(journal, ways(services.settings), tmp_path / "sent.json")
    assert told == {"kafka": "20 sent"}
    assert received(services.kafka_bootstrap_servers, 20) == [
        (f"market-data.sandbox/job-{n % 2}", event) for n, event in enumerate(events)
    ]
    assert ship(journal, ways(services.settings), tmp_path / "sent.json") == {"kafka": "0 sent"}


def test_a_broker_that_is_away_is_an_error_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lineage_shipping, "ANSWER_SECONDS", 0.5)
    with pytest.raises(PublishError, match="Kafka: 1 events not confirmed"):
        lineage_shipping.to_kafka("127.0.0.1:1", [b'{"job":{"namespace":"a","name":"b"}}'])
