"""Simple moving average of the close."""

from __future__ import annotations

import numpy as np

from spark_jobs.transforms.indicators.indicator import History, Indicator
from spark_jobs.transforms.series import FloatArray


def sma(size: int) -> Indicator:
    """Mean of the last `size` closes, in the quote currency; null before there are so many (contract §8)."""

    def compute(history: History) -> tuple[FloatArray, ...]:
        moments = history.close.moments(size)
        return (np.where(moments.count == size, moments.mean, np.nan),)

    return Indicator((f"sma_{size}",), compute, closes=size)
