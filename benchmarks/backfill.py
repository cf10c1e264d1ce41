"""A month of minute bars through the transforms of stream and backfill, beside Polars: `./pipeline bench backfill`.

The same Parquet, the same tables, sides in turn in one run; they must agree before a time counts. What is measured, and
what the figures mean, is in README.md beside this file. With --save the result is also kept as results/backfill.json.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from rich.console import Console

from benchmarks.backfill_parts import warehouse
from benchmarks.backfill_parts.agreement import must_agree
from benchmarks.backfill_parts.figures import ratios, seconds, slopes, spread
from benchmarks.backfill_parts.month import MONTH, SYMBOLS, events
from benchmarks.backfill_parts.report import show
from benchmarks.backfill_parts.sides import (
    BY_SYMBOL,
    DOES,
    OURS,
    POLARS,
    TRUSTING,
    BySymbol,
    Times,
    ours,
    ours_timed,
    polars_timed,
    theirs,
)
from benchmarks.record import begun, ended, load, parsed
from include.errors import MarketDataError
from include.settings import PROJECT_ROOT
from include.stack.java import find_java_home

SIZES = tuple(MONTH * eighths // 8 for eighths in (1, 2, 4, 8, 16))
ROUNDS, STARTS, SPARK_PASSES, WAREHOUSE_DAYS = 5, 3, 3, 6
#: Of all symbols, for the first call.
SMALL = 600
AIMS = {"month_seconds": 180, "ratio": 2.5, "slope": [0.95, 1.05]}
PAIRS = ((OURS, POLARS), (BY_SYMBOL, POLARS), (OURS, TRUSTING), (BY_SYMBOL, TRUSTING))
SPARK_SECONDS = 1_200

Say = Callable[[str], None]


def run(as_json: bool = False, options: Sequence[str] = ()) -> dict[str, Any]:
    """Measures, prints tables (or JSON). Raises MarketDataError, FiguresDiffer where the sides do not agree."""
    wanted = chosen(options)
    result: dict[str, Any] = {
        **begun(),
        "aims": AIMS,
        "symbols": len(SYMBOLS),
        "rounds": wanted.rounds,
        "does": dict(DOES),
        "load_at_start": load(),
    }
    with Console(stderr=True).status("starting") as status:
        with tempfile.TemporaryDirectory(prefix="bench-") as folder:
            result |= compared(Path(folder), wanted.rows, wanted.rounds, status.update)
            if wanted.spark:
                result["spark"] = spark(Path(folder), wanted.spark, status.update)
        if wanted.days:
            result["warehouse"] = warehouse.measured(wanted.days, status.update) | {"load_at_end": load()}
    result["load_at_end"] = load()
    ended("backfill", result, show, save=wanted.save, as_json=as_json, width=160)
    return result


def chosen(options: Sequence[str]) -> argparse.Namespace:
    """Rows, rounds, and the sizes of the other parts. Raises MarketDataError for what it does not know."""
    parser = argparse.ArgumentParser(prog="pipeline bench backfill", description=__doc__, exit_on_error=False)
    parser.add_argument("--rows", type=int, nargs="+", default=list(SIZES), metavar="N", help="beside the month's")
    parser.add_argument("--rounds", type=int, default=ROUNDS, metavar="N")
    parser.add_argument("--spark", type=int, default=SPARK_PASSES, metavar="N", help="passes; 0 leaves it out")
    parser.add_argument("--days", type=int, default=WAREHOUSE_DAYS, metavar="N", help="into PostgreSQL; 0: none")
    parser.add_argument("--save", action="store_true", help="keep results/backfill.json")
    found = parsed(parser, options, "--rows, --rounds, --spark, --days and --save")
    if min(found.rows) < SMALL or found.rounds < 1 or min(found.spark, found.days) < 0:
        raise MarketDataError(f"bench backfill: at least {SMALL} rows and one round, and nothing below zero")
    found.rows = sorted({*found.rows, MONTH})
    return found


def compared(folder: Path, sizes: Sequence[int], rounds: int, say: Say) -> dict[str, Any]:
    """All sides in turn, after they agreed on the month."""
    files = {}
    for rows in (SMALL, *sizes):
        say(f"making {rows:,} bars")
        files[rows] = folder / f"events-{rows}.parquet"
        pq.write_table(events(rows), files[rows], compression="zstd")
    starts: dict[str, list[dict[str, float]]] = {"ours": [], "polars": []}
    for number in range(STARTS):
        for side, found in starts.items():
            say(f"start {number + 1} of {STARTS}: {side}")
            found.append(_started(side, files[SMALL]))
    tables = _agreed(files[MONTH], say)
    processes = BySymbol(SYMBOLS)
    try:
        processes.timed(files[SMALL], folder)
        runs = _in_turn(files, sizes, rounds, folder, processes, say)
    finally:
        processes.close()
    return {
        "rows": tables,
        "starts": {
            side: {name: spread([one[name] for one in found]) for name in found[0]} for side, found in starts.items()
        },
        "seconds": seconds(runs),
        "ratios": ratios(runs, MONTH, PAIRS),
        "slopes": slopes(runs),
    }


def _agreed(file: Path, say: Say) -> dict[str, int]:
    """How many rows each table has. Raises FiguresDiffer."""
    say("comparing the tables of the sides")
    mine = ours(file)
    for side, trusting in ((POLARS, False), (TRUSTING, True)):
        must_agree(mine, theirs(file, trusting=trusting), side)
    return {name: table.num_rows for name, table in mine.items()}


def _in_turn(
    files: dict[int, Path], sizes: Sequence[int], rounds: int, folder: Path, processes: BySymbol, say: Say
) -> dict[str, dict[int, list[Times]]]:
    """Round by round each size, and of a size each side; who begins, changes. Only two sides grow."""
    sides: dict[str, Callable[[Path], Times]] = {
        OURS: lambda file: ours_timed(file, folder),
        POLARS: lambda file: polars_timed(file, folder),
        BY_SYMBOL: lambda file: processes.timed(file, folder),
        TRUSTING: lambda file: polars_timed(file, folder, trusting=True),
    }
    runs: dict[str, dict[int, list[Times]]] = {
        side: {rows: [] for rows in sizes if rows == MONTH or side in (OURS, POLARS)} for side in sides
    }
    for number in range(rounds):
        for rows in sizes:
            turn = [side for side in sides if rows in runs[side]]
            first = number % len(turn)
            for side in (*turn[first:], *turn[:first]):
                say(f"round {number + 1} of {rounds}: {rows:,} bars: {side}")
                runs[side][rows].append(sides[side](files[rows]))
    return runs


def spark(folder: Path, passes: int, say: Say) -> dict[str, Any]:
    """The same transforms on DataFrames: seconds of the session's start, of the first pass and of the warm ones."""
    say("spark: the month on DataFrames")
    arguments = [str(folder / f"events-{MONTH}.parquet"), str(folder / "spark"), str(passes)]
    given = {
        "JAVA_HOME": str(find_java_home()),
        "SPARK_LOCAL_IP": "127.0.0.1",
        "PYSPARK_PYTHON": sys.executable,
        "SPARK_LOCAL_DIRS": str(folder),
    }
    told = _child("benchmarks.backfill_parts.spark_program", arguments, given)
    warm = told["passes"][1:]
    return {
        "start_seconds": round(told["start"], 2),
        "first_pass_seconds": round(told["passes"][0], 2),
        "warm_pass_seconds": spread(warm) if warm else None,
    }


def _started(side: str, file: Path) -> dict[str, float]:
    return _child("benchmarks.backfill_parts.start", [side, str(file)], {})


def _child(module: str, arguments: Sequence[str], more: dict[str, str]) -> Any:
    """What a program of ours said in its last line, which is JSON."""
    command = [sys.executable, "-m", module, *arguments]
    try:
        done = subprocess.run(
            command, env=os.environ | more, cwd=PROJECT_ROOT, capture_output=True, text=True, timeout=SPARK_SECONDS
        )
    except subprocess.TimeoutExpired:
        raise MarketDataError(f"{module} did not end within {SPARK_SECONDS} s") from None
    if done.returncode:
        raise MarketDataError(f"{module} failed: {(done.stderr.strip().splitlines() or ['it said nothing'])[-1]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


if __name__ == "__main__":
    run("--json" in sys.argv[1:], [argument for argument in sys.argv[1:] if argument != "--json"])
