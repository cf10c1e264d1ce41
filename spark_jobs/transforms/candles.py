"""Candles from events: contract §8, the one definition for stream and batch."""

from __future__ import annotations

from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T
from pyspark.sql.window import Window as W

from include.market.candle import INTERVAL_SECONDS, Interval

#: Orders rows that did not come by Kafka after those that did.
_NO_OFFSET = 2**63 - 1
_MICROSECONDS = 1_000_000
#: Chosen so that Spark's division of decimal(38,16) by it keeps 8 decimals.
VOLUME_SUM = T.DecimalType(38, 8)


def candles_of(events: DataFrame, interval: Interval) -> DataFrame:
    """One row a symbol and window, `is_final` not among its columns.

    Columns in: `event_id, symbol, source, kind, event_time, interval_seconds, open, high, low, close,
    volume, kafka_offset`, all events of every window that is asked for. Columns out: the key and figures
    of `candles`. Prices decimal(18,8), volume decimal(28,8), the exact sum; vwap decimal(18,8), rounded
    half up at the last digit, null without volume.
    """
    placed = events.transform(_with_window, INTERVAL_SECONDS[interval])
    counted = placed.transform(_first_of_each_fact).transform(_without_idle_quotes)
    order = F.struct("event_time", "order_offset", "event_id")
    weight = (F.col("high") + F.col("low") + F.col("close")).try_cast(T.DecimalType(17, 8))
    turnover = F.sum(weight * F.col("volume").try_cast(T.DecimalType(20, 8)))
    volume = F.sum("volume")
    figures = counted.groupBy("symbol", "window_start").agg(
        F.min_by("open", order).alias("open"),
        F.max("high").alias("high"),
        F.min("low").alias("low"),
        F.max_by("close", order).alias("close"),
        volume.alias("volume"),
        # typical = (high + low + close) / 3; the 3 is divided out last, so that no digit is lost before.
        F.when(volume > 0, turnover / (volume * 3).try_cast(VOLUME_SUM)).alias("vwap"),
        F.count("*").alias("event_count"),
        F.max_by("source", order).alias("source"),
    )
    return figures.select(
        "symbol",
        F.lit(interval).alias("interval"),
        "window_start",
        "open",
        "high",
        "low",
        "close",
        F.col("volume").try_cast(T.DecimalType(28, 8)).alias("volume"),
        F.col("vwap").try_cast(T.DecimalType(18, 8)).alias("vwap"),
        F.col("event_count").cast("int").alias("event_count"),
        "source",
    )


def _with_window(events: DataFrame, seconds: int) -> DataFrame:
    """Each event in its window; a bar longer than the window has none."""
    time = F.unix_micros("event_time")
    start = time - F.pmod(time, F.lit(seconds * _MICROSECONDS))
    return events.filter(F.col("interval_seconds") <= seconds).select(
        "*",
        F.timestamp_micros(start).alias("window_start"),
        F.coalesce("kafka_offset", F.lit(_NO_OFFSET)).alias("order_offset"),
    )


def _first_of_each_fact(events: DataFrame) -> DataFrame:
    """An event_id counts once, and so does a bar of one start and length, whoever sent it first."""
    bar = F.concat_ws(":", F.lit("bar"), F.unix_micros("event_time"), "interval_seconds")
    fact = F.when(F.col("kind") == "bar", bar).otherwise(F.col("event_id"))
    arrival = W.partitionBy("symbol", "fact").orderBy("order_offset", "event_id")
    numbered = events.select("*", fact.alias("fact")).select("*", F.row_number().over(arrival).alias("delivery"))
    return numbered.filter(F.col("delivery") == 1)


def _without_idle_quotes(events: DataFrame) -> DataFrame:
    """Quotes count only in a window that has neither bar nor trade."""
    is_quote = F.col("kind") == "quote"
    whole = W.partitionBy("symbol", "window_start").rowsBetween(W.unboundedPreceding, W.unboundedFollowing)
    marked = events.select("*", F.min(is_quote).over(whole).alias("has_quotes_only"))
    return marked.filter(F.col("has_quotes_only") | ~is_quote)
