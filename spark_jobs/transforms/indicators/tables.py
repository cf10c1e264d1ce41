"""All indicators of candles, on Arrow tables."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

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


def _seeds(ordered: pa.Table, name: str) -> np.ndarray:
    column = f"seed_{name}"
    return doubles(ordered[column]) if column in ordered.column_names else np.full(ordered.num_rows, np.nan)


def _nullable(figures: np.ndarray) -> pa.Array:
    return pa.array(figures, from_pandas=True)
