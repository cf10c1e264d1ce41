"""The transforms on Arrow tables: what the stream and the batch recomputation both call."""

from __future__ import annotations

import json
from functools import reduce

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame, SparkSession

from include.market.candle import FIGURES, KEY, PARTIAL_FIGURES, PARTIAL_KEY
from include.storage.stream_figures_sql import ANOMALY_COLUMNS, INDICATOR_COLUMNS
from spark_jobs.transforms.anomalies import anomalies_of_table
from spark_jobs.transforms.candles import candles_from, counted, merged, partials_of
from spark_jobs.transforms.indicators import indicators_of_table

#: A batch up to this size is one task: cutting it up costs more than it saves.
ONE_TASK_ROWS = 20_000


def candles_with_partials(
    spark: SparkSession, added: pa.Table, partials: pa.Table, events: pa.Table
) -> tuple[pa.Table, pa.Table]:
    """Candles of all intervals, and the partials that they come from.

    `added`: events that count once each; `partials`: what is known of their windows; `events`: all events of
    other windows, to be counted again. See `FigureTables.basis`.
    """
    sources: list[DataFrame] = []
    if added.num_rows:
        sources.append(partials_of(_frame(spark, added)))
    if partials.num_rows:
        sources.append(_frame(spark, partials))
    if events.num_rows or not sources:
        sources.append(partials_of(counted(_frame(spark, events))))
    # Few rows are left here: in one task nothing need be exchanged any more.
    together = reduce(DataFrame.unionByName, sources).coalesce(1)
    rows = candles_from(merged(together)).toArrow().combine_chunks()
    return rows.select([*KEY, *FIGURES]), _flattened(rows)


def indicators_and_anomalies(context: pa.Table, firsts: pa.Table) -> tuple[pa.Table, pa.Table]:
    """Indicator and anomaly rows of the candles that are wanted; what is only context is left out.

    `context` as `FigureTables.context` gives it, `firsts` the first wanted candle of each (symbol, interval).
    """
    computed = indicators_of_table(context)
    returns = computed.select([*KEY, "log_return"])
    anomalies = anomalies_of_table(context.select([*KEY, "volume"]).join(returns, list(KEY)))
    indicators = _wanted(computed, firsts)
    known = [name for name in INDICATOR_COLUMNS.split(", ") if name != "more"]
    extra = indicators.drop_columns(known)
    # Row by row, but only for an indicator that has no column of its own yet.
    more = [json.dumps(row) for row in extra.to_pylist()] if extra.num_columns else [None] * len(indicators)
    stored = indicators.select(known).append_column("more", pa.array(more, pa.string()))
    return stored, _wanted(anomalies, firsts).select(ANOMALY_COLUMNS.split(", "))


def _frame(spark: SparkSession, rows: pa.Table) -> DataFrame:
    frame = spark.createDataFrame(rows)
    return frame.coalesce(1) if rows.num_rows <= ONE_TASK_ROWS else frame


def _flattened(rows: pa.Table) -> pa.Table:
    """One row a partial, from the candles' lists of them."""
    lists = rows["partials"].combine_chunks()
    if isinstance(lists, pa.ChunkedArray):
        lists = lists.chunk(0) if lists.num_chunks else pa.array([], lists.type)
    keys = rows.select(list(KEY)).take(pc.list_parent_indices(lists))
    flat = pc.list_flatten(lists)
    columns = {name: keys[name] for name in KEY}
    columns |= {name: pc.struct_field(flat, name) for name in ("is_quote", *PARTIAL_FIGURES)}
    return pa.table(columns).select([*PARTIAL_KEY, *PARTIAL_FIGURES])


def _wanted(rows: pa.Table, firsts: pa.Table) -> pa.Table:
    limited = rows.join(firsts, ["symbol", "interval"], join_type="inner")
    return limited.filter(pc.greater_equal(limited["window_start"], limited["first"])).select(rows.column_names)
