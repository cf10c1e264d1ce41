"""What the benchmarks share around their measuring: their options, where and when it was, and how a result is kept."""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import psutil
from rich.console import Console

from include.errors import MarketDataError
from include.settings import PROJECT_ROOT

RESULTS = PROJECT_ROOT / "benchmarks" / "results"


def parsed(parser: argparse.ArgumentParser, options: Sequence[str], takes: str) -> argparse.Namespace:
    """The options; `takes` names those there are. Raises MarketDataError for what the parser does not know."""
    name = parser.prog.removeprefix("pipeline ")
    try:
        found, unknown = parser.parse_known_args(list(options))
    except argparse.ArgumentError as error:
        raise MarketDataError(f"{name}: {error}") from None
    if unknown:
        raise MarketDataError(f"{name} does not know {' '.join(unknown)}; it takes {takes}")
    return found


def begun() -> dict[str, Any]:
    """With what a result begins: the moment, the machine, the code."""
    return {"at": datetime.now(UTC).isoformat(timespec="seconds"), "machine": _machine(), "commit": _commit()}


def load() -> list[float]:
    """Load averages of the last 1, 5 and 15 minutes."""
    return [round(one, 1) for one in os.getloadavg()]


def ended(
    name: str,
    result: dict[str, Any],
    show: Callable[[dict[str, Any], Console], None],
    *,
    save: bool,
    as_json: bool,
    width: int,
) -> None:
    """Keeps results/<name>.json where that is wanted, and prints the result; `width` is for where no terminal is."""
    if save:
        RESULTS.mkdir(parents=True, exist_ok=True)
        (RESULTS / f"{name}.json").write_text(json.dumps(result, indent=2) + "\n")
    if as_json:
        print(json.dumps(result, indent=2))
    else:
        show(result, Console(width=None if sys.stdout.isatty() else width))


def _machine() -> dict[str, Any]:
    return {
        "cpus": os.cpu_count(),
        "processor": platform.processor() or platform.machine(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30),
        "python": platform.python_version(),
    }


def _commit() -> str:
    """Short, with a mark if the tree is not as committed; empty without git."""
    told = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=PROJECT_ROOT, capture_output=True, text=True)
    return told.stdout.strip() or "unknown"
