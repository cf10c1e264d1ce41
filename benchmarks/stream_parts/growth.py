"""Part (d): how the cost of an event grows with the number of symbols and with the length of the history."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

from benchmarks.stream_parts.cpu import less
from benchmarks.stream_parts.fits import growth
from benchmarks.stream_parts.history import fill_history
from benchmarks.stream_parts.rates import APART, figures
from benchmarks.stream_parts.spark import Course, drained
from benchmarks.stream_parts.stores import Stores, stores
from benchmarks.stream_parts.topic import Block, blocks, fill
from include.errors import MarketDataError

HISTORY_SYMBOLS = 100
TIMEOUT_SECONDS = 1_200
#: CPU per event to the power of: symbols, rows of history. At most.
AIMS = {"symbols": 0.10, "history": 0.06}


def run(
    symbols: list[int], history: list[int], events: int, per_second: int, rounds: int, say: Callable[[str], None]
) -> dict[str, Any]:
    """A drain of `events` for each number of symbols and each length of history; upwards, downwards, and so on.

    The first half of each is left out as warming up; every batch of the rest is a point of the fit.
    """
    result: dict[str, Any] = {"events": events, "aims": AIMS, "rounds": rounds, "symbols": [], "history": []}
    with stores(say) as held:
        for number in range(max(1, rounds)):
            step = 1 if number % 2 == 0 else -1
            for count in symbols[::step]:
                say(f"growth: {count:,} symbols")
                block = _topic(held, events, count, per_second)
                result["symbols"].append({"symbols": count, **_measured(held, block)})
            for rows in history[::step]:
                block = _topic(held, events, HISTORY_SYMBOLS, per_second)
                say(f"growth: making {rows:,} rows of history")
                stands = fill_history(held, rows, HISTORY_SYMBOLS, block.start_us)
                say(f"growth: {rows:,} rows of history")
                measured = _measured(held, block, already=stands["events"])
                result["history"].append({"history": stands["events"], **stands, **measured})
    result["fits"] = {name: fits(result[name], name) for name in ("symbols", "history") if result[name]}
    return result


def fits(runs: Sequence[Mapping[str, Any]], by: str) -> dict[str, Any]:
    """Growth of CPU per event and of the time between commits with `by`; empty with one size only. Pure."""
    found: dict[str, Any] = {}
    if len({run[by] for run in runs}) < 2:
        return found
    for figure in ("cpu_us_per_event", "batch_seconds"):
        points = [(run[by], value) for run in runs for value in run[figure]]
        found[figure] = growth([x for x, _ in points], [y for _, y in points]).as_dict()
    return found


def warm_batches(course: Course) -> dict[str, list[float]]:
    """Of each batch behind the middle: CPU microseconds an event, and seconds since the batch before. Pure."""
    cpu, seconds = [], []
    course = course.whole()
    for first, last in pairwise(course.marks[course.marks.index(course.middle) :]):
        spent = sum(value for side, value in less(last.cpu, first.cpu).items() if side not in APART)
        cpu.append(round(spent * 1e6 / (last.records - first.records), 2))
        seconds.append(round(last.at - first.at, 3))
    return {"cpu_us_per_event": cpu, "batch_seconds": seconds}


def _topic(held: Stores, events: int, symbols: int, per_second: int) -> Block:
    held.empty()
    held.new_topic()
    (block,) = blocks([events], symbols, per_second, tails=0)
    fill(held.servers, block)
    return block


def _measured(held: Stores, block: Block, already: int = 0) -> dict[str, Any]:
    held.checkpoint()
    course = drained(held, block.records, TIMEOUT_SECONDS)
    with held.connect() as connection:
        row = connection.execute("SELECT count(*) FROM market_events").fetchone()
    if row is None or row[0] != block.records + already:
        raise MarketDataError(f"{row} events are stored, {block.records} + {already} should be")
    return {**figures(course), **warm_batches(course)}
