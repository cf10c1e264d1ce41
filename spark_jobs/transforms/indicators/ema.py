"""Exponential moving average of the close."""

from __future__ import annotations

import numpy as np

from spark_jobs.transforms.indicators.indicator import History, Indicator
from spark_jobs.transforms.series import FloatArray, Series


def ema(span: int) -> Indicator:
    """EMA(span), alpha = 2/(span+1), in the quote currency (contract §8; pandas `ewm(span=span, adjust=False)`).

    The first candle of a run has its seed, or its close where there is none; from there one fold, so that
    going on from a stored figure gives the bits of going through from the beginning.
    """
    name = f"ema_{span}"

    def compute(history: History) -> tuple[FloatArray, ...]:
        return (_fold(history.close, history.seeds[name], 2 / (span + 1)),)

    return Indicator((name,), compute, seeded=True)


def _fold(close: Series, seeds: FloatArray, alpha: float) -> FloatArray:
    """Step by step in time, all runs at once: the longest first, so that those still going are a prefix."""
    averages = np.where(np.isnan(seeds), close.values, seeds)
    starts = np.flatnonzero(close.before == 0)
    lengths = np.diff(np.append(starts, len(close.values)))
    longest_first = np.argsort(-lengths, kind="stable")
    places = starts[longest_first]
    going = np.searchsorted(-lengths[longest_first], -np.arange(lengths.max(initial=0)))
    average = averages[places]
    for step, runs in enumerate(going[1:], start=1):
        average = average[:runs]
        at = places[:runs] + step
        average = average + alpha * (close.values[at] - average)
        averages[at] = average
    return averages
