"""The stream measured beside its references: `./pipeline bench stream [drain] [raw] [latency] [growth]`.

Each part starts stores of its own and stops them. What is measured, and what the figures mean, is in README.md beside
this file. With --save the result is also kept as results/stream.json and results/stream.html; parts that are measured
alone take the place of their older selves there.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.record import RESULTS, begun, load
from benchmarks.stream_parts import drain, growth, latency, raw_sink
from benchmarks.stream_parts.page import page, remarks, table
from include.errors import MarketDataError

PARTS = ("drain", "raw", "latency", "growth")
#: Option to (whole, quick).
SIZES: dict[str, tuple[Any, Any]] = {
    "events": ([1_000_000, 2_000_000], [120_000]),
    "symbols": (100, 100),
    "per_second": (10_000, 10_000),
    "rounds": (1, 0),
    "rows": (500_000, 100_000),
    "rates": ([1_000, 10_000], [1_000]),
    "seconds": (60, 10),
    "steps": ([20_000, 30_000, 40_000, 50_000, 60_000], [2_000]),
    "step_seconds": (20, 8),
    "growth_symbols": ([10, 100, 1_000, 10_000], [10, 100]),
    "growth_history": ([100_000, 1_000_000, 10_000_000], [10_000]),
    "growth_events": (300_000, 150_000),
}

Say = Callable[[str], None]


def run(as_json: bool = False, options: Sequence[str] = ()) -> dict[str, Any]:
    """Runs the parts, prints tables (or JSON). Raises MarketDataError at the end if a part failed."""
    wanted = chosen(options)
    result: dict[str, Any] = {
        **begun(),
        "quick": wanted.quick,
        "parts": {},
    }
    with Console(stderr=True).status("starting") as status:
        for name in wanted.parts:
            result["parts"][name] = _one_part(name, wanted, lambda line, part=name: status.update(f"{part}: {line}"))
            if wanted.save:
                save(result)
    if as_json:
        print(json.dumps(result, indent=2))
    else:
        show(result, Console(width=None if sys.stdout.isatty() else 140))
    failures = [f"{name}: {part['failed']}" for name, part in result["parts"].items() if "failed" in part]
    if failures:
        raise MarketDataError("; ".join(failures))
    return result


def chosen(options: Sequence[str]) -> argparse.Namespace:
    """The parts, and each of SIZES. Raises MarketDataError for what it does not know."""
    parser = argparse.ArgumentParser(prog="pipeline bench stream", description=__doc__, exit_on_error=False)
    parser.add_argument("parts", nargs="*", metavar="part", help=f"of {', '.join(PARTS)}; without, all")
    parser.add_argument("--quick", action="store_true", help="small sizes, to see that it works")
    parser.add_argument("--save", action="store_true", help="keep results/stream.json and results/stream.html")
    for name, (whole, _) in SIZES.items():
        kind = _numbers if isinstance(whole, list) else int
        parser.add_argument(f"--{name.replace('_', '-')}", type=kind, metavar="N,N" if kind is _numbers else "N")
    try:
        found, unknown = parser.parse_known_intermixed_args(list(options))
    except argparse.ArgumentError as error:
        raise MarketDataError(f"bench stream: {error}") from None
    unknown += [part for part in found.parts if part not in PARTS]
    if unknown:
        raise MarketDataError(f"bench stream does not know {' '.join(unknown)}; its parts are {', '.join(PARTS)}")
    found.parts = [part for part in PARTS if part in found.parts or not found.parts]
    for name, sizes in SIZES.items():
        if getattr(found, name) is None:
            setattr(found, name, sizes[found.quick])
    return found


def save(result: dict[str, Any]) -> None:
    """Keep the result; parts that were not measured now stay as they were measured before."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    file = RESULTS / "stream.json"
    before = json.loads(file.read_text())["parts"] if file.exists() else {}
    together = result | {"parts": before | result["parts"]}
    file.write_text(json.dumps(together, indent=2) + "\n")
    (RESULTS / "stream.html").write_text(page(together))


def show(result: dict[str, Any], out: Console) -> None:
    """A table a part, and what must be known with it."""
    for name, part in result["parts"].items():
        if "failed" in part:
            out.print(f"[bold]{name}[/]: not measured: {part['failed']}")
            continue
        heads, rows = table(name, part)
        shown = Table(*heads, title=name, box=None, pad_edge=False, title_justify="left")
        for row in rows:
            shown.add_row(*row)
        out.print(shown)
        for line in remarks(name, part):
            out.print(line, highlight=False)
        out.print()


def _one_part(name: str, wanted: argparse.Namespace, say: Say) -> dict[str, Any]:
    began, at = time.monotonic(), datetime.now(UTC).isoformat(timespec="seconds")
    try:
        found = _RUN[name](wanted, say)
    except MarketDataError as failure:
        # The other parts go on; the command says it and fails at the end.
        return {"at": at, "failed": str(failure)}
    return {"at": at, "took_seconds": round(time.monotonic() - began), "load_at_end": load(), **found}


_RUN: dict[str, Callable[[argparse.Namespace, Say], dict[str, Any]]] = {
    "drain": lambda w, say: drain.run(w.events, w.symbols, w.per_second, w.rounds, say),
    "raw": lambda w, say: raw_sink.run(w.rows, w.rounds, say),
    "latency": lambda w, say: latency.run(w.rates, w.seconds, w.steps, w.step_seconds, w.symbols, say),
    "growth": lambda w, say: growth.run(
        w.growth_symbols, w.growth_history, w.growth_events, w.per_second, w.rounds, say
    ),
}


def _numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",") if part]


if __name__ == "__main__":
    run("--json" in sys.argv[1:], [argument for argument in sys.argv[1:] if argument != "--json"])
