"""Where the stream reads: one Kafka topic per asset class."""

from __future__ import annotations

from pyspark.sql import DataFrame, SparkSession

from include.market.event import AssetClass
from include.market.topics import EVENTS


def read_events(spark: SparkSession, bootstrap_servers: str, asset_class: AssetClass, max_offsets: int) -> DataFrame:
    """Kafka's own columns. Missing offsets stop the query: data that is gone must not go unnoticed."""
    return (
        spark.readStream.format("kafka")
        .option("kafka.bootstrap.servers", bootstrap_servers)
        .option("subscribe", EVENTS[asset_class])
        .option("startingOffsets", "earliest")
        .option("failOnDataLoss", "true")
        .option("maxOffsetsPerTrigger", max_offsets)
        .load()
    )
