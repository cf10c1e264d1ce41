"""Part (c): from a trade's due time until a reader sees it in Redis and in PostgreSQL, and the highest steady rate."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import psycopg

from benchmarks.stream_parts.cpu import cpu_seconds, less
from benchmarks.stream_parts.fits import slope
from benchmarks.stream_parts.reader import POLL_SECONDS
from benchmarks.stream_parts.schedule import Schedule, curve_ms, summary_ms, waits_us
from benchmarks.stream_parts.spark import DRIVER_LOG, QUERY, driver
from benchmarks.stream_parts.stores import Stores, finished, last_words, program, stores
from benchmarks.stream_parts.topic import symbol_names
from include.errors import MarketDataError, StackError

READERS = ("redis", "postgres")
#: One symbol in so many is looked at; every event of it counts.
ONE_IN = 10
AIM_P99_MS = 1_500
#: Thrown away at the start of each rate; at the very start the JVM warms up with this rate for so long.
SETTLE_SECONDS = 5
WARM_RATE, WARM_SECONDS = 5_000, 20
#: A rate is sustained if the backlog of the second half grows by less than this share of the rate ...
GROWTH_LIMIT = 0.03
#: ... and stays below so many seconds' worth of events.
BACKLOG_SECONDS = 5.0
_SAMPLE_SECONDS = 0.25
_DRAIN_SECONDS = 240
_START_SECONDS = 180
_DONE = "SELECT coalesce(sum(rows_in), 0)::bigint FROM stream_batches WHERE query_name = %s"


@dataclass
class Bench:
    """One driver for all rates; `sent` counts the events of all of them."""

    held: Stores
    connection: psycopg.Connection[Any]
    driver: subprocess.Popen[bytes]
    names: Sequence[str]
    sent: int = 0
    roots: dict[str, int] = field(default_factory=dict)

    def done(self) -> int:
        if self.driver.poll() is not None:
            raise StackError(f"the driver ended: {last_words(self.held, DRIVER_LOG)}")
        row = self.connection.execute(_DONE, (QUERY,)).fetchone()
        return int(row[0]) if row else 0

    def await_all(self, seconds: float) -> None:
        """Until the ledger has all that was sent. Raises StackError."""
        deadline = time.monotonic() + seconds
        while (done := self.done()) < self.sent:
            if time.monotonic() > deadline:
                raise StackError(f"{done} of {self.sent} events were committed within {seconds:.0f} s")
            time.sleep(_SAMPLE_SECONDS)


def run(
    rates: list[int], seconds: int, steps: list[int], step_seconds: int, symbols: int, say: Callable[[str], None]
) -> dict[str, Any]:
    """Waits at each of `rates` for `seconds`; then the backlog at each of `steps` until one is too much."""
    result: dict[str, Any] = {
        "aim_p99_ms": AIM_P99_MS,
        "poll_ms": POLL_SECONDS * 1_000,
        "symbols": symbols,
        "settle_seconds": SETTLE_SECONDS,
        "rates": [],
        "steps": [],
    }
    with stores(say) as held, driver(held) as process, held.connect() as connection:
        bench = Bench(held, connection, process, symbol_names(symbols), roots={"driver": process.pid, **held.pids})
        say("warming up")
        paced(bench, WARM_RATE, WARM_SECONDS, wait=_START_SECONDS)
        for rate in rates:
            say(f"waits at {rate:,} events/s for {seconds} s")
            result["rates"].append(_waits(bench, rate, seconds))
        for rate in steps:
            say(f"backlog at {rate:,} events/s for {step_seconds} s")
            step = _backlog(bench, rate, step_seconds)
            result["steps"].append(step)
            if not step["sustained"]:
                break
        stored = connection.execute("SELECT count(*) FROM market_events").fetchone()
        if stored is None or stored[0] != bench.sent:
            raise MarketDataError(f"{stored} of {bench.sent} events are in PostgreSQL")
    sustained = [step["rate"] for step in result["steps"] if step["sustained"]]
    return result | {"highest_sustained": max(sustained, default=None), "events": bench.sent}


def _waits(bench: Bench, rate: int, seconds: int) -> dict[str, Any]:
    watched = list(range(0, len(bench.names), ONE_IN))
    with _reading(bench, [bench.names[number] for number in watched]) as files:
        before = cpu_seconds(bench.roots)
        schedule, sender = paced(bench, rate, seconds + SETTLE_SECONDS, wait=_DRAIN_SECONDS)
        spent = less(cpu_seconds(bench.roots), before)
    counted_from = schedule.start_us + SETTLE_SECONDS * 1_000_000
    found: dict[str, Any] = {}
    for store, file in files.items():
        seen = json.loads(file.read_text())
        waits = []
        for number, pairs in zip(watched, seen.values(), strict=True):
            due = schedule.of_symbol(number)
            one, unseen = waits_us(due[due >= counted_from], pairs)
            if unseen:
                raise MarketDataError(f"{store} never showed {unseen} events of symbol {number}")
            waits.append(one)
        together = np.concatenate(waits)
        found[store] = summary_ms(together) | {"curve": curve_ms(together)}
    cpu = {side: round(value, 2) for side, value in spent.items()}
    return {"rate": rate, "seconds": seconds, "generator": sender, "cpu_seconds": cpu, **found}


def _backlog(bench: Bench, rate: int, seconds: int) -> dict[str, Any]:
    samples: list[tuple[float, int]] = []
    already = bench.sent

    def sample(at: float, schedule: Schedule) -> None:
        due = min(schedule.count, max(0, int((at - schedule.start_us / 1e6) * rate)))
        if 0 < due < schedule.count:
            samples.append((round(at - schedule.start_us / 1e6, 2), due - (bench.done() - already)))

    _, sender = paced(bench, rate, seconds, wait=_DRAIN_SECONDS, sample=sample)
    return {"rate": rate, "seconds": seconds, "generator": sender, "backlog": samples} | verdict(samples, rate)


def verdict(samples: list[tuple[float, int]], rate: int) -> dict[str, Any]:
    """Whether the backlog `(second, events)` stays bounded at this rate. Raises MarketDataError on too few."""
    half = samples[len(samples) // 2 :]
    if len(half) < 4:
        raise MarketDataError("too few samples: measure for longer")
    growth = slope([at for at, _ in half], [float(events) for _, events in half]).slope / rate
    worst = max(events for _, events in half) / rate
    return {
        "growth": round(growth, 4),
        "worst_backlog_seconds": round(worst, 2),
        "sustained": growth < GROWTH_LIMIT and worst < BACKLOG_SECONDS,
    }


def paced(
    bench: Bench,
    rate: int,
    seconds: int,
    wait: float,
    sample: Callable[[float, Schedule], None] = lambda at, schedule: None,
) -> tuple[Schedule, dict[str, Any]]:
    """Send at this rate, then wait until all is committed; the schedule, and what the generator says of itself."""
    count = rate * seconds
    module = "benchmarks.stream_parts.generator"
    numbers = [str(number) for number in (rate, count, 5_000_000_000 + bench.sent)]
    log = bench.held.plan.layout.log("bench-generator")
    command = [sys.executable, "-m", module, bench.held.servers, *numbers, *bench.names]
    with program(bench.held, command, "bench-generator") as sender:
        schedule: Schedule | None = None
        while sender.poll() is None:
            if schedule is None and (lines := log.read_text().splitlines()):
                schedule = Schedule(json.loads(lines[0])["start_us"], rate, count, len(bench.names))
            if schedule is not None:
                sample(time.time(), schedule)
            time.sleep(_SAMPLE_SECONDS)
        finished(sender, bench.held, "bench-generator", 1)
    first, last = (json.loads(line) for line in log.read_text().splitlines())
    bench.sent += count
    bench.await_all(wait)
    return Schedule(first["start_us"], rate, count, len(bench.names)), last


@contextmanager
def _reading(bench: Bench, symbols: list[str]) -> Iterator[dict[str, Path]]:
    """The readers beside; at the end of the context they have written their files."""
    files = {store: bench.held.folder / f"seen-{store}.json" for store in READERS}
    readers = []
    for store, file in files.items():
        file.unlink(missing_ok=True)
        command = [sys.executable, "-m", "benchmarks.stream_parts.reader", store, str(file), *symbols]
        readers.append(program(bench.held, command, f"bench-reader-{store}"))
    with readers[0], readers[1]:
        yield files
        # One more round of polls, for what was committed last.
        time.sleep(1)
    for store, file in files.items():
        if not file.exists():
            raise StackError(f"the reader of {store} failed: {last_words(bench.held, f'bench-reader-{store}')}")
