"""All indicators of candles: on Arrow tables, and the same on Spark's DataFrames.

The stream and the repair hold a batch's candles in the driver, where the arithmetic takes milliseconds; a way
through Spark's Python workers would take longer than all the rest of the batch. DataFrames are for histories that
one process does not hold.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from include.market.candle import KEY
from spark_jobs.transforms.indicators.indicator import History, Indicator
from spark_jobs.transforms.indicators.registry import INDICATORS
from spark_jobs.transforms.indicators.returns import log_returns
from spark_jobs.transforms.series import Series, doubles, in_order


def indicators_of_table(candles: pa.Table, indicators: Sequence[Indicator] = INDICATORS) -> pa.Table:
    """One row a candle, by key: `symbol, interval, window_start`, `log_return` and the indicators, all doubles.

    `candles`: `symbol, interval, window_start, close, volume, source` of one or many (symbol, interval), in any
    order, each key once; prices and volumes decimal or double. To go on with a history, give context as LOOKBACK
    says, and on the first row of each (symbol, interval) what SEEDED names as `seed_<column>`; a null seed, or
    none, means that the history starts there. The bits are then those of the whole history.
    """
    ordered, before = in_order(candles)
    close = Series(doubles(ordered["close"]), before)
    returns = log_returns(ordered, close)
    history = History(
        close=close,
        volume=Series(doubles(ordered["volume"]), before),
        log_return=Series(returns, before),
        seeds={name: _seeds(ordered, name) for indicator in indicators for name in indicator.columns},
    )
    columns = {name: ordered[name] for name in KEY} | {"log_return": _nullable(returns)}
    for indicator in indicators:
        for name, figures in zip(indicator.columns, indicator.compute(history), strict=True):
            columns[name] = _nullable(figures)
    return pa.table(columns)


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
    schema = "symbol string, interval string, window_start timestamp, " + ", ".join(f"{name} double" for name in names)

    def compute(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        held = list(batches)
        if held:
            yield from indicators_of_table(pa.Table.from_batches(held), indicators).to_batches()

    return given.repartition("symbol", "interval").mapInArrow(compute, schema)


def _seeds(ordered: pa.Table, name: str) -> np.ndarray:
    column = f"seed_{name}"
    return doubles(ordered[column]) if column in ordered.column_names else np.full(ordered.num_rows, np.nan)


def _nullable(figures: np.ndarray) -> pa.Array:
    return pa.array(figures, from_pandas=True)
