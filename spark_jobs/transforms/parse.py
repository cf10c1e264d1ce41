"""Kafka records to typed events. A record that is not an event gets a reason; nothing raises."""

from __future__ import annotations

from functools import reduce

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T

from include.market.event import MAX_AHEAD_US, SCHEMA_VERSION, AssetClass

PRICE = T.DecimalType(18, 8)
VOLUME = T.DecimalType(28, 8)
PRICES = ("open", "high", "low", "close")
_PRICE_TEXT = r"^\d{1,10}(\.\d{1,8})?$"
_VOLUME_TEXT = r"^\d{1,20}(\.\d{1,8})?$"

# Prices and volume stay text here: a JSON number would have lost its digits before we see it.
_MESSAGE = T.StructType(
    [
        T.StructField("event_id", T.StringType()),
        T.StructField("symbol", T.StringType()),
        T.StructField("asset_class", T.StringType()),
        T.StructField("source", T.StringType()),
        T.StructField("kind", T.StringType()),
        T.StructField("event_time", T.LongType()),
        T.StructField("interval_seconds", T.IntegerType()),
        *(T.StructField(name, T.StringType()) for name in (*PRICES, "volume")),
        T.StructField("currency", T.StringType()),
        T.StructField("ingested_at", T.LongType()),
        T.StructField("schema_version", T.IntegerType()),
    ]
)
_REQUIRED = tuple(field.name for field in _MESSAGE.fields if field.name != "volume")
_SOURCES = ("yahoo", "alpha_vantage", "coingecko", "binance")
_KINDS = ("bar", "trade", "quote")


def parse_events(records: DataFrame, asset_class: AssetClass) -> DataFrame:
    """Columns in: Kafka's `value, topic, partition, offset, timestamp`.

    Columns out: those of `market_events` (times as timestamps, prices decimal(18,8), volume
    decimal(28,8)), `kafka_topic`, `payload_hex`, and `reason`: null for a valid event, else why it is
    refused, in which case the typed columns mean nothing.
    """
    message = F.from_json(F.col("value").cast("string"), _MESSAGE, {"allowNonNumericNumbers": "false"})
    parsed = records.select("*", message.alias("m")).select("topic", "partition", "offset", "timestamp", "value", "m.*")
    typed = {name: F.col(name).try_cast(PRICE) for name in PRICES}
    judged = parsed.select("*", _reason(asset_class, typed).alias("reason"))
    is_valid = F.col("reason").isNull()
    return judged.select(
        "event_id",
        "symbol",
        "asset_class",
        "source",
        "kind",
        F.when(is_valid, F.timestamp_micros("event_time")).alias("event_time"),
        "interval_seconds",
        *(typed[name].alias(name) for name in PRICES),
        F.col("volume").try_cast(VOLUME).alias("volume"),
        "currency",
        F.when(is_valid, F.timestamp_micros("ingested_at")).alias("ingested_at"),
        F.col("partition").alias("kafka_partition"),
        F.col("offset").alias("kafka_offset"),
        F.col("topic").alias("kafka_topic"),
        F.when(~is_valid, F.hex("value")).alias("payload_hex"),
        "reason",
    )


def _reason(asset_class: AssetClass, price: dict[str, Column]) -> Column:
    """The first rule that the record breaks; contract §3."""
    latest = F.unix_micros("timestamp") + F.lit(MAX_AHEAD_US)
    is_bar = F.col("kind") == "bar"
    no_price_text = reduce(Column.__or__, [~F.col(name).rlike(_PRICE_TEXT) for name in PRICES])
    body_is_high = price["high"] < F.greatest(price["open"], price["close"])
    body_is_low = price["low"] > F.least(price["open"], price["close"])
    rules = [
        *(
            (F.col(name).isNull(), f"{name} is missing or of the wrong type (or this is no JSON object)")
            for name in _REQUIRED
        ),
        (F.col("schema_version") != SCHEMA_VERSION, f"schema_version is not {SCHEMA_VERSION}"),
        (F.col("asset_class") != asset_class, f"asset_class does not belong on the {asset_class} topic"),
        (~F.col("source").isin(*_SOURCES), "source is unknown"),
        (~F.col("kind").isin(*_KINDS), "kind is unknown"),
        (no_price_text, "a price is not a plain decimal with at most 8 decimals"),
        (price["low"] <= 0, "a price is not above zero"),
        (body_is_low | body_is_high, "low <= open, close <= high does not hold"),
        (~F.col("volume").rlike(_VOLUME_TEXT), "volume is not a plain decimal, zero or more"),
        (F.col("event_time") > latest, "event time lies in the future"),
        (F.col("event_time") <= 0, "event time is not after 1970"),
        (is_bar != (F.col("interval_seconds") > 0), "interval_seconds does not fit the kind"),
    ]
    return F.coalesce(*(F.when(broken, F.lit(words)) for broken, words in rules))
