"""From runs to figures: medians with their range, ratios, and growth with rows. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from benchmarks.backfill_parts.sides import Times
from benchmarks.stream_parts.fits import growth

KINDS = ("memory", "files", "cpu")

#: Side, rows, and a run of each round.
Runs = Mapping[str, Mapping[int, Sequence[Times]]]


def spread(values: Sequence[float]) -> dict[str, float]:
    """The median, the lowest and the highest."""
    return {"median": round(median(values), 4), "low": round(min(values), 4), "high": round(max(values), 4)}


def seconds(runs: Runs) -> dict[str, Any]:
    """Of each side and number of rows: seconds to the tables in memory and in files, and of CPU."""
    return {
        side: {
            f"{rows}": {kind: spread([getattr(run, kind) for run in done]) for kind in KINDS}
            for rows, done in by.items()
        }
        for side, by in runs.items()
    }


def ratios(runs: Runs, rows: int, pairs: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """How many times as long the first takes as the second, round by round: each pair saw the same machine."""
    return {
        f"{one} / {other}": {
            kind: spread(
                [getattr(a, kind) / getattr(b, kind) for a, b in zip(runs[one][rows], runs[other][rows], strict=True)]
            )
            for kind in KINDS
        }
        for one, other in pairs
        if rows in runs.get(one, {}) and rows in runs.get(other, {})
    }


def slopes(runs: Runs) -> dict[str, Any]:
    """Time grows as rows to this power: of every side that was given more than one number of rows.

    With a 95 % interval over all runs; `rounds` is the lowest and highest slope of the rounds by themselves.
    """
    found: dict[str, Any] = {}
    for side, by in runs.items():
        if len(by) < 2:
            continue
        found[side] = {}
        for kind in KINDS:
            points = [(rows, getattr(run, kind)) for rows, done in by.items() for run in done]
            fit = growth([rows for rows, _ in points], [value for _, value in points])
            each = [
                growth(list(by), [getattr(done[number], kind) for done in by.values()]).slope
                for number in range(min(map(len, by.values())))
            ]
            found[side][kind] = fit.as_dict() | {"rounds": [round(min(each), 4), round(max(each), 4)]}
    return found
