"""Kafka topic names; partitions and retention stand in config/kafka.yaml."""

from __future__ import annotations

from include.market.event import AssetClass

EVENTS: dict[AssetClass, str] = {
    "stock": "market.stock.events.v1",
    "crypto": "market.crypto.events.v1",
}
DEAD_LETTERS = "market.events.dlq.v1"
ANOMALIES = "market.anomalies.v1"
#: OpenLineage run events.
LINEAGE = "market.lineage.v1"
