"""Candles from events: the one definition of contract §8, for stream and batch. Pure."""

from __future__ import annotations

from decimal import Decimal

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from include.market.candle import FIGURES, INTERVAL_SECONDS, Interval
from include.market.event import MICROSECONDS

#: What `candles_of` reads of each event; times are timestamps, the rest as in `market_events`.
EVENT_COLUMNS = (
    "event_id", "symbol", "source", "kind", "event_time", "interval_seconds",
    "open", "high", "low", "close", "volume", "kafka_partition", "kafka_offset", "revision",
)  # fmt: skip
_UNIT = Decimal(10**8)  # stored figures have 8 decimals: times this they are whole
_VWAP_STEP = 10_000  # from 8 decimals to the 12 of vwap
_WIDE = "decimal(30,0)"


def candles_of(events: DataFrame, interval: Interval) -> DataFrame:
    """One row a symbol and window that has a usable event, with the columns of `candles`.

    `events` must hold all events of each window that it touches (`EVENT_COLUMNS`, any order, repeats and
    several revisions allowed). Gives `symbol, interval, window_start, open, high, low, close` (decimal(18,8)),
    `volume` (decimal(28,8)), `vwap` (decimal(28,12)), `event_count` (int), `source`.

    vwap is exact until the end and rounded once, half up, to 12 decimals. Volume is null if its sum has
    more than 20 digits before the point, vwap also if Σ(price·volume) has more than 21.
    """
    seconds = INTERVAL_SECONDS[interval]
    usable = _once(events).where((F.col("kind") != "bar") | (F.col("interval_seconds") <= seconds))
    placed = _with_window(usable, seconds)
    window = Window.partitionBy("symbol", "window_start")
    quotes_only = F.min((F.col("kind") == "quote").cast("int")).over(window) == 1
    chosen = placed.withColumn("quotes_only", quotes_only).where(F.col("quotes_only") | (F.col("kind") != "quote"))
    weight = F.try_multiply(_tripled_typical(), _whole("volume", 28))
    sums = chosen.groupBy("symbol", "window_start").agg(
        F.min_by("open", _order()).alias("open"),
        F.max("high").alias("high"),
        F.min("low").alias("low"),
        F.max_by("close", _order()).alias("close"),
        F.sum("volume").try_cast("decimal(28,8)").alias("volume"),
        F.count("*").cast("int").alias("event_count"),
        F.max_by("source", _order()).alias("source"),
        F.try_sum(weight).alias("weighted"),
        # A product too long to hold is null, which a sum leaves out unseen: so both are counted.
        F.count(weight).alias("weights"),
        F.count("volume").alias("volumes"),
    )
    return _with_vwap(sums).select("symbol", F.lit(interval).alias("interval"), "window_start", *FIGURES)


def _order() -> Column:
    """Time first, then Kafka's order; rows that did not come by Kafka after those that did."""
    return F.struct(
        F.col("event_time"),
        F.col("kafka_offset").isNull(),
        F.coalesce(F.col("kafka_offset"), F.lit(0)),
        F.coalesce(F.col("kafka_partition"), F.lit(0)),
        F.col("event_id"),
    )


def _once(events: DataFrame) -> DataFrame:
    """Each event_id with its newest revision; of bars of one symbol, start and length the first."""
    arrival = [
        F.col("kafka_offset").asc_nulls_last(),
        F.col("kafka_partition").asc_nulls_last(),
        F.col("event_id"),
    ]
    by_id = Window.partitionBy("symbol", "event_id").orderBy(F.col("revision").desc(), *arrival)
    fact = F.when(F.col("kind") == "bar", F.lit("")).otherwise(F.col("event_id"))
    by_bar = Window.partitionBy("symbol", "event_time", "interval_seconds", "fact").orderBy(*arrival)
    # One exchange by symbol serves every step: all of them group within a symbol.
    newest = events.repartition("symbol").withColumn("rank", F.row_number().over(by_id)).where("rank = 1")
    first = newest.withColumn("fact", fact).withColumn("rank", F.row_number().over(by_bar))
    return first.where("rank = 1").drop("rank", "fact")


def _with_window(events: DataFrame, seconds: int) -> DataFrame:
    length = seconds * MICROSECONDS
    micros = F.unix_micros("event_time")
    return events.withColumn("window_start", F.timestamp_micros(micros - F.pmod(micros, F.lit(length))))


def _whole(name: str, digits: int) -> Column:
    """The figure in units of 1e-8, as a decimal without decimals: such products lose nothing."""
    return (F.col(name) * F.lit(_UNIT)).cast(f"decimal({digits},0)")


def _tripled_typical() -> Column:
    return _whole("high", 18) + _whole("low", 18) + _whole("close", 18)


def _with_vwap(sums: DataFrame) -> DataFrame:
    """Σ(high+low+close)·volume / 3Σvolume by long division: Spark's own keeps too few decimals here."""
    complete = F.col("weights") == F.col("volumes")
    parts = sums.select(
        "*",
        F.when(complete, F.col("weighted")).alias("numerator"),
        F.when(F.col("volume") > 0, _whole("volume", 28) * F.lit(3)).cast(_WIDE).alias("divisor"),
    )
    parts = parts.withColumn("whole", F.expr("numerator div divisor").cast("decimal(19,0)"))
    rest = (F.col("numerator") - F.col("whole") * F.col("divisor")).cast(_WIDE)
    parts = parts.withColumn("rest", rest)
    parts = parts.withColumn(
        "tail", F.expr(f"(2 * {_VWAP_STEP} * rest + divisor) div (2 * divisor)").cast("decimal(5,0)")
    )
    steps = (F.col("whole") * F.lit(_VWAP_STEP) + F.col("tail")).cast("decimal(24,0)")
    return parts.withColumn("vwap", (steps * F.lit(Decimal("1E-12"))).cast("decimal(28,12)"))
