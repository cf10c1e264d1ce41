"""Percentiles of calls, and how they grow from history to history. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import quantiles
from typing import Any

from benchmarks.stream_parts.fits import growth

#: A tenfold history may take this many times as long, at most.
AIM = 1.15
LEVELS = (50, 95)


def percentiles(milliseconds: Sequence[float]) -> dict[str, float]:
    """`p50` and `p95`, between the calls where they fall between two."""
    cuts = quantiles(milliseconds, n=100, method="inclusive")
    return {f"p{level}": round(cuts[level - 1], 4) for level in LEVELS}


def per_tenfold(blocks: Mapping[int, Sequence[Sequence[float]]]) -> dict[str, Any]:
    """How many times as long a call takes when the history is ten times as long, with its 95 % interval.

    `blocks` has, of each length of the history, the milliseconds of the calls block by block: the spread is that of
    the blocks' percentiles. Empty with one length only.
    """
    if len(blocks) < 2:
        return {}
    found = {}
    for level in (f"p{level}" for level in LEVELS):
        points = [(size, percentiles(block)[level]) for size, calls in blocks.items() for block in calls]
        fit = growth([size for size, _ in points], [value for _, value in points])
        ends = {"ratio": fit.slope, "low": fit.low, "high": fit.high}
        found[level] = {name: None if slope is None else round(10**slope, 3) for name, slope in ends.items()}
    return found
