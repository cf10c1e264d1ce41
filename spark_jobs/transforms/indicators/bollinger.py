"""Bollinger bands: a moving average and so many deviations above and below it."""

from __future__ import annotations

import numpy as np

from spark_jobs.transforms.indicators.indicator import History, Indicator
from spark_jobs.transforms.series import FloatArray


def bollinger(size: int, width: float) -> Indicator:
    """middle = SMA(size), upper and lower = middle ± width · sigma of the population (contract §8).

    In the quote currency; null before there are `size` closes.
    """

    def compute(history: History) -> tuple[FloatArray, ...]:
        moments = history.close.moments(size)
        middle = np.where(moments.count == size, moments.mean, np.nan)
        reach = width * moments.deviation(ddof=0)
        return middle + reach, middle, middle - reach

    return Indicator(("bollinger_upper", "bollinger_middle", "bollinger_lower"), compute, closes=size)
