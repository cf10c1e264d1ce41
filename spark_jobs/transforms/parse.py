"""Kafka records to typed market events, or to a reason why not. Pure: DataFrame in, DataFrame out."""

from __future__ import annotations

from typing import get_args

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import DecimalType

from include.market.event import (
    MAX_AHEAD_US,
    MAX_DECIMALS,
    MICROSECONDS,
    SCHEMA_VERSION,
    AssetClass,
    Kind,
    Source,
)

PRICE = DecimalType(18, MAX_DECIMALS)
VOLUME = DecimalType(28, MAX_DECIMALS)
TEXTS = ("event_id", "symbol", "asset_class", "source", "kind", "currency")
NUMBERS = ("event_time", "interval_seconds", "ingested_at", "schema_version")
PRICES = ("open", "high", "low", "close")
FIGURES = (*PRICES, "volume")
#: What `parse` gives, in this order.
COLUMNS = (*TEXTS, *FIGURES, "event_time", "interval_seconds", "ingested_at")
COORDINATES = ("topic", "kafka_partition", "kafka_offset")

#: Printable ASCII without a blank: what an index can hold and every page can show.
_NAMES = {
    "event_id": r"^[!-~]{1,256}\z",
    "symbol": r"^[!-~]{1,64}\z",
    "currency": r"^[!-~]{1,16}\z",
}
_DECIMAL = r"^-?[0-9]{1,64}(\.[0-9]{0,64})?\z"
_TOO_FINE = rf"\.[0-9]{{{MAX_DECIMALS}}}[0-9]*[1-9]"
_INT_MAX = 2**31 - 1
#: The last microsecond of the year 9999, where the calendars of Arrow and Python end.
_LAST_TIME = 253_402_300_799_999_999
# Prices and volume stay text: a JSON number would have lost its digits before we see it.
_FIELDS = {**dict.fromkeys((*TEXTS, *FIGURES), "string"), **dict.fromkeys(NUMBERS, "bigint")}
_SCHEMA = "array<struct<" + ", ".join(f"{name}: {kind}" for name, kind in _FIELDS.items()) + ">>"
#: A number, boolean, list or object where a string belongs; from_json would quietly make it text.
_NOT_A_STRING = r'"(' + "|".join((*TEXTS, *FIGURES)) + r')"\s*:\s*[^"n\s]'
_OPTIONS = {"allowNonNumericNumbers": "false", "allowSingleQuotes": "false"}


def _our_encoding() -> str:
    """The text that our producers write, byte for byte: no rule on shape or digits can be broken by what matches.

    One pass instead of some twenty: of 50 us a record, 35 went into the rules that only odd records need.
    """
    whole, name = VOLUME.precision - MAX_DECIMALS, r"[!-~&&[^\"\\]]"
    price, volume = (rf"[0-9]{{1,{digits}}}(?:\.[0-9]{{1,{MAX_DECIMALS}}})?" for digits in (10, whole))
    fields = {
        "event_id": rf'"{name}{{1,256}}"',
        "symbol": rf'"{name}{{1,64}}"',
        "asset_class": r'"%s"',
        "source": f'"(?:{"|".join(get_args(Source))})"',
        "kind": f'"(?:{"|".join(get_args(Kind))})"',
        "event_time": "[0-9]{1,18}",
        "interval_seconds": "[0-9]{1,9}",
        **dict.fromkeys(PRICES, f'"{price}"'),
        "volume": f'(?:null|"{volume}")',
        "currency": rf'"{name}{{1,16}}"',
        "ingested_at": "[0-9]{1,18}",
        "schema_version": str(SCHEMA_VERSION),
    }
    return r"^\{" + ",".join(f'"{name}":{pattern}' for name, pattern in fields.items()) + r"\}\z"


def parse(records: DataFrame, asset_class: AssetClass) -> DataFrame:
    """One row a record: the columns of contract §3, its Kafka coordinates, and `reason`.

    `records` has Kafka's `value, topic, partition, offset, timestamp`. Valid rows have `reason` null;
    prices decimal(18,8), volume decimal(28,8), `event_time` and `ingested_at` timestamps. Rows with a
    reason, in words, have the raw `payload` as hexadecimal text and no event_time, so that a wrong time
    never reaches a watermark; symbol and source stay where they can be read. Nothing raises on any bytes.
    """
    decoded = _typed(_decoded(records, asset_class)).withColumn("reason", _reason(asset_class))
    valid = F.col("reason").isNull()
    readable = {
        name: F.when(valid | F.col(name).rlike(r"^[!-~]{1,64}\z"), F.col(name)) for name in ("symbol", "source")
    }
    times = {name: F.timestamp_micros(F.when(valid, F.col(name))) for name in ("event_time", "ingested_at")}
    columns = {
        **{name: F.when(valid, F.col(name)) for name in COLUMNS},
        **readable,
        **times,
        "interval_seconds": F.when(valid, F.col("interval_seconds")).cast("int"),
    }
    return decoded.select(
        *(column.alias(name) for name, column in columns.items()),
        *COORDINATES,
        "reason",
        F.when(~valid, F.hex("value")).alias("payload"),
    )


def _decoded(records: DataFrame, asset_class: AssetClass) -> DataFrame:
    # Inside brackets, so that text behind the object (a second one, say) is an error and not ignored.
    text = F.concat(F.lit("["), F.col("value").cast("string"), F.lit("]"))
    events = records.select(
        "value",
        "topic",
        F.col("partition").alias("kafka_partition"),
        F.col("offset").alias("kafka_offset"),
        F.unix_micros("timestamp").alias("kafka_time"),
        F.coalesce(F.col("value").cast("string").rlike(_our_encoding() % asset_class), F.lit(False)).alias("is_ours"),
        F.from_json(text, _SCHEMA, _OPTIONS).alias("events"),
    )
    return events.withColumn("event", F.when(F.size("events") == 1, F.get("events", F.lit(0))))


def _typed(decoded: DataFrame) -> DataFrame:
    exact = {
        name: F.when(_is_exact(name), F.col(f"{name}_text").try_cast(VOLUME if name == "volume" else PRICE))
        for name in FIGURES
    }
    typed = decoded.select(
        "value",
        *COORDINATES,
        "kafka_time",
        "is_ours",
        F.col("event").isNotNull().alias("is_object"),
        *(F.col(f"event.{name}").alias(name) for name in (*TEXTS, *NUMBERS)),
        *(F.col(f"event.{name}").alias(f"{name}_text") for name in FIGURES),
    )
    return typed.withColumns(exact)


def _is_exact(name: str) -> Column:
    text = F.col(f"{name}_text")
    return F.col("is_ours") | (text.rlike(_DECIMAL) & ~text.rlike(_TOO_FINE))


def _reason(asset_class: AssetClass) -> Column:
    """The first of the rules that the row breaks; null if none."""
    shape = _first_broken([*_shape_rules(asset_class), *_text_rules()])
    return F.coalesce(F.when(~F.col("is_ours"), shape), _first_broken([*_figure_rules(), *_time_rules()]))


def _first_broken(rules: list[tuple[Column, Column]]) -> Column:
    return F.coalesce(*(F.when(broken, reason) for broken, reason in rules))


def _shape_rules(asset_class: AssetClass) -> list[tuple[Column, Column]]:
    version = F.col("schema_version")
    text = F.col("value").cast("string")
    rules = [
        (~F.coalesce(F.is_valid_utf8(text), F.lit(False)), F.lit("not UTF-8 text")),
        (~F.col("is_object"), F.lit("not one JSON object")),
        (text.rlike(_NOT_A_STRING), F.lit("a name, price or volume is not a JSON string")),
        (version != SCHEMA_VERSION, F.format_string("schema_version %d is not known here", version)),
        *((F.col(name).isNull(), F.lit(f"{name} is missing or not a string")) for name in TEXTS),
        *((F.col(name).isNull(), F.lit(f"{name} is missing or not a whole number")) for name in NUMBERS),
        *((~F.col(name).rlike(pattern), F.lit(f"{name} is not a plain name")) for name, pattern in _NAMES.items()),
        (~F.col("source").isin(*get_args(Source)), F.lit("source is not known")),
        (~F.col("kind").isin(*get_args(Kind)), F.lit("kind is not bar, trade or quote")),
        (F.col("asset_class") != asset_class, F.lit(f"asset_class is not {asset_class}, as its topic's")),
    ]
    return rules


def _text_rules() -> list[tuple[Column, Column]]:
    def texts(name: str) -> list[tuple[Column, Column]]:
        text = F.col(f"{name}_text")
        return [
            (text.isNull() & F.lit(name != "volume"), F.lit(f"{name} is missing or not a decimal string")),
            (~text.rlike(_DECIMAL), F.lit(f"{name} is not a finite decimal number")),
            (text.rlike(_TOO_FINE), F.lit(f"{name} has more than {MAX_DECIMALS} decimals")),
            (text.isNotNull() & F.col(name).isNull(), F.lit(f"{name} has too many digits")),
        ]

    return [rule for name in FIGURES for rule in texts(name)]


def _figure_rules() -> list[tuple[Column, Column]]:
    opening, high, low, close = (F.col(name) for name in PRICES)
    return [
        (F.least(opening, high, low, close) <= 0, F.lit("a price is not above zero")),
        (
            (low > F.least(opening, close)) | (high < F.greatest(opening, close)),
            F.lit("low <= open, close <= high does not hold"),
        ),
        (F.col("volume") < 0, F.lit("volume is negative")),
    ]


def _time_rules() -> list[tuple[Column, Column]]:
    time, seconds = F.col("event_time"), F.col("interval_seconds")
    is_bar = F.col("kind") == "bar"
    fits = F.when(is_bar, seconds.between(1, _INT_MAX)).otherwise(seconds == 0)
    ahead = time > F.col("kafka_time") + MAX_AHEAD_US
    return [
        (~fits, F.lit("interval_seconds does not fit the kind")),
        (time <= 0, F.lit("event time is not after 1970")),
        (
            ahead | (time > _LAST_TIME),
            F.lit(f"event time lies in the future: more than {MAX_AHEAD_US // MICROSECONDS} s ahead of its record"),
        ),
        (~F.col("ingested_at").between(1, _LAST_TIME), F.lit("ingested_at is not a time")),
    ]
