"""Each side from a file of events to its three tables, and on to Parquet."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

TABLES = ("candles", "indicators", "anomalies")
OURS, BY_SYMBOL, POLARS, TRUSTING = "ours", "ours, by symbol", "polars", "polars, trusting"
DOES: Mapping[str, str] = {
    OURS: "figures_of for all symbols at once, one process",
    BY_SYMBOL: "figures_of in a process a core, whole symbols each, as Spark's partitions are",
    POLARS: "the same rules, all cores",
    TRUSTING: "each row is taken as a minute's bar that came once: no repeats, revisions, quotes; all cores",
}


@dataclass(frozen=True, slots=True)
class Times:
    """Seconds until the tables were in memory, and in files; `cpu` of all threads and processes for the former."""

    memory: float
    files: float
    cpu: float


def ours(file: Path, symbols: tuple[str, ...] | None = None) -> dict[str, pa.Table]:
    """Tables by name; of these symbols only, where some are given."""
    from spark_jobs.as_of import figures_of
    from spark_jobs.memory import keep_freed_memory

    # As the process of a recomputation does; Polars has an allocator of its own.
    keep_freed_memory()
    found = figures_of(pq.read_table(file, filters=None if symbols is None else [("symbol", "in", symbols)]))
    # Figures of indicators that have no column yet: there are none.
    return {"candles": found.candles, "indicators": found.indicators.drop_columns("more"), "anomalies": found.anomalies}


def ours_timed(file: Path, folder: Path, symbols: tuple[str, ...] | None = None) -> Times:
    def write(tables: Mapping[str, pa.Table]) -> None:
        part = "-".join(symbols or ("all",))
        for name, table in tables.items():
            pq.write_table(table, folder / f"{name}-{part}.parquet", compression="zstd")

    return _timed(lambda: ours(file, symbols), write)


def polars_timed(file: Path, folder: Path, *, trusting: bool = False) -> Times:
    from benchmarks.backfill_parts import reference

    def write(frames: reference.Frames) -> None:
        for name, frame in zip(TABLES, frames, strict=True):
            frame.write_parquet(folder / f"{name}-polars.parquet", compression="zstd")

    return _timed(lambda: (reference.figures_of_clean_bars if trusting else reference.figures)(file), write)


def theirs(file: Path, *, trusting: bool = False) -> dict[str, pa.Table]:
    """As `ours`."""
    from benchmarks.backfill_parts import reference

    frames = (reference.figures_of_clean_bars if trusting else reference.figures)(file)
    return {name: frame.to_arrow() for name, frame in zip(TABLES, frames, strict=True)}


class BySymbol:
    """Processes, one a core, that hold whole symbols; started once, and warm from `warm` on."""

    def __init__(self, symbols: tuple[str, ...]) -> None:
        cores = min(os.cpu_count() or 1, len(symbols))
        self._shares = [symbols[first::cores] for first in range(cores)]
        # Polars has threads by now, which a fork would not survive.
        self._pool = ProcessPoolExecutor(cores, mp_context=get_context("spawn"))

    def timed(self, file: Path, folder: Path) -> Times:
        """In memory is until the last process has its tables, which stay there."""
        began = time.perf_counter()
        asked = [self._pool.submit(ours_timed, file, folder, share) for share in self._shares]
        done = [one.result() for one in asked]
        return Times(max(one.memory for one in done), time.perf_counter() - began, sum(one.cpu for one in done))

    def close(self) -> None:
        self._pool.shutdown()


def _timed(compute: Callable[[], Any], write: Callable[[Any], None]) -> Times:
    began, cpu = time.perf_counter(), time.process_time()
    found = compute()
    memory, spent = time.perf_counter() - began, time.process_time() - cpu
    write(found)
    return Times(memory, time.perf_counter() - began, spent)
