"""Log returns from candle to candle."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from include.market.event import MICROSECONDS
from include.market.timeframe import TIMEFRAME_SECONDS
from spark_jobs.transforms.series import FloatArray, Series, microseconds

#: A return reaches back over so many intervals at most; beyond is a gap, or the market was closed.
MAX_INTERVALS = 5


def log_returns(candles: pa.Table, close: Series) -> FloatArray:
    """ln(close / previous close) of candles in order; NaN across a gap, a session break or a change of source.

    The previous candle must have started at most MAX_INTERVALS earlier and have the same source (contract §8).
    """
    starts = microseconds(candles["window_start"])
    names = candles["interval"].combine_chunks().dictionary_encode()
    lengths = np.array(
        [TIMEFRAME_SECONDS[name] * MICROSECONDS for name in names.dictionary.to_pylist()], dtype=np.int64
    )
    interval = lengths[np.asarray(names.indices)]
    source = np.asarray(candles["source"].combine_chunks().dictionary_encode().indices)
    returns = np.full(len(starts), np.nan)
    adjoining = (
        (close.before[1:] > 0)
        & (starts[1:] - starts[:-1] <= MAX_INTERVALS * interval[1:])
        & (source[1:] == source[:-1])
    )
    returns[1:][adjoining] = np.log(close.values[1:][adjoining] / close.values[:-1][adjoining])
    return returns
