"""Volatility: how much the log returns scatter."""

from __future__ import annotations

import numpy as np

from spark_jobs.transforms.indicators.indicator import History, Indicator
from spark_jobs.transforms.series import FloatArray


def volatility(size: int) -> Indicator:
    """Sample standard deviation (ddof 1) of the last `size` non-null log returns, per candle, not annualised.

    Null before there are so many. A candle that has no return of its own (after a gap, say) has the volatility
    of the returns up to it: nothing new is known of it (contract §8).
    """

    def compute(history: History) -> tuple[FloatArray, ...]:
        returns, places = history.log_return.present()
        moments = returns.moments(size)
        sigma = np.where(moments.count == size, moments.deviation(ddof=1), np.nan)
        return (history.log_return.carried(sigma, places),)

    return Indicator((f"volatility_{size}",), compute, returns=size)
