"""Candles from events: the one definition of contract §8, for stream and batch. Pure.

A *partial* sums up some events of one window. Partials of one window merge exactly, in any order and any
split, so a batch of the stream adds its events to what is known without reading the window's events again:

    candles_of(events) = candles_from(merged(partials_of(counted(events))))
"""

from __future__ import annotations

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from include.market.candle import (
    FIGURES,
    INTERVAL_SECONDS,
    KEY,
    LONGEST_SECONDS,
    PARTIAL_FIGURES,
    PARTIAL_KEY,
    Interval,
)
from include.market.event import MICROSECONDS

#: What is read of each event; times are timestamps, the rest as in `market_events`.
EVENT_COLUMNS = (
    "event_id", "symbol", "source", "kind", "event_time", "interval_seconds",
    "open", "high", "low", "close", "volume", "kafka_partition", "kafka_offset", "revision",
)  # fmt: skip
_SHORTEST_US = min(INTERVAL_SECONDS.values()) * MICROSECONDS
#: The place of rows that did not come by Kafka: after all that did.
_NO_OFFSET = 2**63 - 1
_ORDER = ("time", "offset", "partition", "id")

# SQL and not a chain of calls: Spark analyses each call by itself, which for a batch's few hundred rows took
# several times as long as the work. Figures in units of 1e-8 have no decimals: their products lose nothing.
_PLACES = ", ".join(f"{end}.{name} AS {end}_{name}" for end in ("first", "last") for name in _ORDER)
_FLAT = f"""
SELECT {", ".join(PARTIAL_KEY)}, {_PLACES}, first.open, last.close, last.source, high, low,
       CAST(volume AS decimal(38,8)) AS volume, volumes,
       CAST(weighted AS decimal(38,0)) AS weighted, IF(weighted IS NULL, 0, weights) AS weights, event_count
FROM sums
"""
#: The intervals whose windows are long enough for a bar of so many seconds.
_FITTING = " ".join(
    f"WHEN interval_seconds <= {seconds} THEN array{tuple(n for n, d in INTERVAL_SECONDS.items() if d >= seconds)}"
    for seconds in sorted(INTERVAL_SECONDS.values())
).replace(",)", ")")
_LENGTH_US = " ".join(f"WHEN '{name}' THEN {seconds * MICROSECONDS}" for name, seconds in INTERVAL_SECONDS.items())
# A product or sum too long to hold is null, which a later sum leaves out unseen: so both are counted.
_PARTIALS = f"""
WITH placed AS (
    SELECT *, unix_micros(event_time) AS micros, kind = 'quote' AS is_quote, CASE {_FITTING} END AS intervals,
           struct(event_time AS time, coalesce(kafka_offset, {_NO_OFFSET}L) AS offset,
                  coalesce(kafka_partition, 0) AS partition, event_id AS id, open, close, source) AS place,
           try_multiply(CAST(high * 100000000BD AS decimal(18,0)) + CAST(low * 100000000BD AS decimal(18,0))
                        + CAST(close * 100000000BD AS decimal(18,0)),
                        CAST(volume * 100000000BD AS decimal(28,0))) AS weight
    FROM {{rows}} WHERE interval_seconds <= {LONGEST_SECONDS}
), short AS (
    SELECT symbol, micros - pmod(micros, {_SHORTEST_US}L) AS start, is_quote, intervals,
           min(place) AS first, max(place) AS last, max(high) AS high, min(low) AS low,
           try_sum(volume) AS volume, count(volume) AS volumes, try_sum(weight) AS weighted, count(weight) AS weights,
           count(*) AS event_count
    FROM placed GROUP BY ALL
), exploded AS (SELECT *, explode(intervals) AS interval FROM short
), sums AS (
    SELECT *, timestamp_micros(start - pmod(start, CASE interval {_LENGTH_US} END)) AS window_start FROM exploded
)
{_FLAT}
"""
_MERGED = f"""
WITH sums AS (
    SELECT {", ".join(PARTIAL_KEY)},
           min(struct({", ".join(f"first_{name} AS {name}" for name in _ORDER)}, open)) AS first,
           max(struct({", ".join(f"last_{name} AS {name}" for name in _ORDER)}, close, source)) AS last,
           max(high) AS high, min(low) AS low, try_sum(volume) AS volume, sum(volumes) AS volumes,
           try_sum(weighted) AS weighted, sum(weights) AS weights, sum(event_count) AS event_count
    FROM {{rows}} GROUP BY {", ".join(PARTIAL_KEY)}
)
{_FLAT}
"""
# vwap is Σ(high+low+close)·volume / 3Σvolume by long division to 12 decimals: Spark's own keeps too few here.
_CANDLES = f"""
WITH windows AS (
    SELECT {", ".join(KEY)}, min(struct(is_quote, {", ".join(PARTIAL_FIGURES)})) AS side,
           collect_list(struct(is_quote, {", ".join(PARTIAL_FIGURES)})) AS partials
    FROM {{rows}} GROUP BY {", ".join(KEY)}
), chosen AS (
    SELECT {", ".join(KEY)}, partials, side.open, side.high, side.low, side.close, side.source,
           CAST(side.event_count AS int) AS event_count, try_cast(side.volume AS decimal(28,8)) AS volume,
           IF(side.weights = side.volumes, side.weighted, NULL) AS numerator
    FROM windows
), divided AS (
    SELECT *, IF(volume > 0, CAST(CAST(volume * 100000000BD AS decimal(28,0)) * 3BD AS decimal(30,0)), NULL) AS divisor,
           CAST(numerator div divisor AS decimal(19,0)) AS whole,
           CAST(numerator - whole * divisor AS decimal(30,0)) AS rest,
           CAST((20000 * rest + divisor) div (2 * divisor) AS decimal(5,0)) AS tail
    FROM chosen
)
SELECT {", ".join(name for name in (*KEY, *FIGURES) if name != "vwap")}, partials,
       CAST(CAST(whole * 10000 + tail AS decimal(24,0)) * 0.000000000001BD AS decimal(28,12)) AS vwap
FROM divided
"""


def candles_of(events: DataFrame, interval: Interval | None = None) -> DataFrame:
    """One row a symbol, interval and window that has a usable event, with the columns of `candles`.

    `events` must hold all events of each window that it touches (`EVENT_COLUMNS`, any order, repeats and
    several revisions allowed). Gives `symbol, interval, window_start, open, high, low, close` (decimal(18,8)),
    `volume` (decimal(28,8)), `vwap` (decimal(28,12)), `event_count` (int), `source`; of all intervals, or of one.

    vwap is exact until the end and rounded once, half up, to 12 decimals. Volume is null if its sum has
    more than 20 digits before the point, vwap also if Σ(price·volume) has more than 21.
    """
    partials = partials_of(counted(events))
    if interval is not None:
        partials = partials.where(F.col("interval") == interval)
    return candles_from(merged(partials)).select(*KEY, *FIGURES)


def counted(events: DataFrame) -> DataFrame:
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


def partials_of(events: DataFrame) -> DataFrame:
    """Summaries of events that count once each (see `counted`), `PARTIAL_KEY` and `PARTIAL_FIGURES`.

    Several rows may have one key: `merged` makes them one. Quotes are kept apart from bars and trades. The
    events are gone through once, by the shortest window; a bar is in the windows that are long enough for it.
    """
    return _computed(_PARTIALS, events)


def merged(partials: DataFrame) -> DataFrame:
    """One partial a key. Exact, associative and commutative: extremes by order, and sums of whole decimals."""
    return _computed(_MERGED, partials)


def candles_from(partials: DataFrame) -> DataFrame:
    """The candles of complete, merged partials: the columns of `candles_of`, and `partials`, what they came from.

    Quotes make a candle only where nothing else does.
    """
    return _computed(_CANDLES, partials)


def _computed(statement: str, rows: DataFrame) -> DataFrame:
    return rows.sparkSession.sql(statement, rows=rows)
