"""The result as tables and lines of text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.backfill_parts.figures import KINDS
from benchmarks.backfill_parts.month import MONTH

_HEADS = {"memory": "s to tables", "files": "s to Parquet", "cpu": "CPU s"}


def show(result: Mapping[str, Any], out: Console) -> None:
    """Seconds by rows and side, ratios and slopes, and a line each for the start, Spark and the database."""
    times = Table("bars", "side", *_HEADS.values(), box=None, pad_edge=False)
    for rows in sorted({int(rows) for by in result["seconds"].values() for rows in by}):
        for side, by in result["seconds"].items():
            if found := by.get(f"{rows}"):
                times.add_row(f"{rows:,}", side, *(_spread(found[kind]) for kind in KINDS))
    out.print(times)
    out.print()
    low, high = result["aims"]["slope"]
    for title, what in (
        (f"times as long, {MONTH:,} bars (aim: at most {result['aims']['ratio']})", result["ratios"]),
        (f"growth: bars to the power of (aim: {low} to {high})", result["slopes"]),
    ):
        table = Table(title, *_HEADS.values(), box=None, pad_edge=False)
        for name, found in what.items():
            table.add_row(name, *((_spread if "median" in found[kind] else _slope)(found[kind]) for kind in KINDS))
        out.print(table)
        out.print()
    for line in _lines(result):
        out.print(line, highlight=False)


def _lines(result: Mapping[str, Any]) -> Iterator[str]:
    for side, does in result["does"].items():
        yield f"{side}: {does}"
    for side, found in result["starts"].items():
        imports, call = (_spread(found[name]) for name in ("imports", "first_call"))
        yield f"start of {side}, apart: imports {imports} s, first call {call} s"
    if spark := result.get("spark"):
        warm = f", warm {_spread(spark['warm_pass_seconds'])} s" if spark["warm_pass_seconds"] else ""
        yield (
            f"the month on Spark's DataFrames, Parquet to Parquet: first pass {spark['first_pass_seconds']} s{warm}; "
            f"start {spark['start_seconds']} s, apart"
        )
    if kept := result.get("warehouse"):
        yield (
            f"into PostgreSQL by store_bars: {kept['days']} days, {kept['bars']:,} bars in {kept['seconds']} s, "
            f"{kept['bars_per_second']:,} bars/s; seconds by day: {', '.join(map(str, kept['day_seconds']))}"
        )
        growing = kept["month_extrapolated_growing_seconds"]
        line = "" if growing is None else f"; on the line through the days: {growing} s"
        yield f"a month into PostgreSQL, extrapolated at that rate: {kept['month_extrapolated_seconds']} s{line}"
    tables = ", ".join(f"{count:,} {name}" for name, count in result["rows"].items())
    yield (
        f"{MONTH:,} bars of {result['symbols']} symbols give {tables}; {result['rounds']} rounds in turn, medians "
        f"with lowest and highest; aim for the month: {result['aims']['month_seconds']} s; "
        f"load {result['load_at_start'][0]} before, {result['load_at_end'][0]} after"
    )


def _spread(found: Mapping[str, float]) -> str:
    return f"{found['median']:.2f} ({found['low']:.2f} to {found['high']:.2f})"


def _slope(found: Mapping[str, Any]) -> str:
    between = "" if found["low"] is None else f" ({found['low']:.3f} to {found['high']:.3f})"
    return f"{found['slope']:.3f}{between}"
