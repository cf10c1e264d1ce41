"""Indicators and anomalies on Spark's DataFrames, by the same arithmetic as on Arrow tables.

The stream and the repair hold a batch's candles in the driver, where the arithmetic takes milliseconds; a way
through Spark's Python workers would take longer than all the rest of the batch. DataFrames are for histories that
one process does not hold.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from include.market.candle import KEY
from spark_jobs.transforms.anomalies import MEASURES, anomalies_of_table
from spark_jobs.transforms.indicators import INDICATORS, indicators_of_table
from spark_jobs.transforms.indicators.indicator import Indicator

_KEY_SCHEMA = "symbol string, interval string, window_start timestamp, "


def indicators_of(candles: DataFrame, indicators: Sequence[Indicator] = INDICATORS) -> DataFrame:
    """`indicators_of_table` by partitions of whole (symbol, interval); each partition is held in memory."""
    seeds = [f"seed_{name}" for indicator in indicators if indicator.seeded for name in indicator.columns]
    given = candles.select(
        *KEY,
        *(F.col(name).cast("double") for name in ("close", "volume")),
        "source",
        *(name for name in seeds if name in candles.columns),
    )
    names = ["log_return", *(name for indicator in indicators for name in indicator.columns)]
    schema = _KEY_SCHEMA + ", ".join(f"{name} double" for name in names)
    return _by_symbol(given, lambda table: indicators_of_table(table, indicators), schema)


def anomalies_of(candles_with_returns: DataFrame) -> DataFrame:
    """`anomalies_of_table` by partitions of whole (symbol, interval); each partition is held in memory."""
    given = candles_with_returns.select(*KEY, *(F.col(name).cast("double") for name in ("log_return", "volume")))
    measures = ", ".join(f"{name} double" for name in MEASURES)
    return _by_symbol(given, anomalies_of_table, f"{_KEY_SCHEMA}metric string, {measures}, severity string")


def _by_symbol(given: DataFrame, compute: Callable[[pa.Table], pa.Table], schema: str) -> DataFrame:
    def partition(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        held = list(batches)
        if held:
            yield from compute(pa.Table.from_batches(held)).to_batches()

    return given.repartition("symbol", "interval").mapInArrow(partition, schema)
