"""From the course of a run to its figures. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.stream_parts.cpu import less
from benchmarks.stream_parts.spark import Course, Mark
from include.errors import MarketDataError

#: Kafka serves every side alike, and is listed apart.
APART = ("kafka",)


def figures(course: Course) -> dict[str, Any]:
    """Records a second and a CPU second: `all` from the first work done to the end, `warm` its second half.

    CPU is that of all sides but the broker; `start_seconds` and `start_cpu_seconds` lie before the first work
    done. Raises MarketDataError where there is only one mark, and so nothing between two.
    """
    course = course.whole()
    if len(course.marks) < 2:
        raise MarketDataError("all was done at once: take more events")
    start = less(course.start.cpu, course.began.cpu)
    return {
        "start_seconds": round(course.start.at - course.began.at, 2),
        "start_cpu_seconds": round(_counted(start), 2),
        "all": _between(course.start, course.end),
        "warm": _between(course.middle if course.middle is not course.end else course.marks[-2], course.end),
    }


def median_of(runs: Sequence[Mapping[str, Any]], part: str, figure: str) -> float:
    """The median over runs of one figure of `all` or `warm`."""
    return statistics.median(run[part][figure] for run in runs)


def ratios(ours: Sequence[Mapping[str, Any]], reference: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Ours over the reference, medians of rounds: per CPU second and per second, of all and of the warm half."""
    return {
        f"{figure}_{part}": round(median_of(ours, part, figure) / median_of(reference, part, figure), 3)
        for figure in ("per_cpu_second", "per_second")
        for part in ("all", "warm")
    }


def _between(first: Mark, last: Mark) -> dict[str, Any]:
    records, seconds = last.records - first.records, last.at - first.at
    spent = less(last.cpu, first.cpu)
    return {
        "records": records,
        "seconds": round(seconds, 3),
        "per_second": round(records / seconds),
        "per_cpu_second": round(records / max(_counted(spent), 1e-9)),
        "cpu_seconds": {side: round(value, 2) for side, value in spent.items()},
    }


def _counted(spent: Mapping[str, float]) -> float:
    return sum(value for side, value in spent.items() if side not in APART)
