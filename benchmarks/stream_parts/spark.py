"""spark-submit as the pipeline does it, and how the driver gets on by the ledger."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from benchmarks.stream_parts.cpu import cpu_seconds
from benchmarks.stream_parts.stores import Stores, last_words, program
from include.errors import StackError
from include.operators.spark_options import Cluster, configuration
from include.settings import PROJECT_ROOT
from include.stack.control import DRIVER_SCRIPT, stop_detached
from include.stack.layout import JARS

MASTER, MEMORY = "local[2]", "1g"
DRIVER_LOG = "bench-driver"
QUERY = "events_stock"
_POLL_SECONDS = 0.05
_DONE = "SELECT coalesce(sum(rows_in), 0)::bigint FROM stream_batches WHERE query_name = %s"


@dataclass(frozen=True, slots=True)
class Mark:
    """So many records were done at this moment, for so many CPU seconds by side."""

    at: float
    records: int
    cpu: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Course:
    """One run as it went: the start, and each time that more was done."""

    began: Mark
    marks: list[Mark] = field(default_factory=list)

    @property
    def start(self) -> Mark:
        """The first work that was seen to be done; before it lies the start."""
        return self.marks[0]

    @property
    def end(self) -> Mark:
        return self.marks[-1]

    def whole(self) -> Course:
        """Without a last batch that is a small leftover: it costs as much as a batch, and is none."""
        steps = [last.records - first.records for first, last in pairwise(self.marks)]
        leftover = len(steps) > 1 and steps[-1] < max(steps) / 4
        return Course(self.began, self.marks[:-1]) if leftover else self

    @property
    def middle(self) -> Mark:
        """From here on the side is warm: half of what comes after the first mark is done."""
        half = (self.start.records + self.end.records) / 2
        return next(mark for mark in self.marks if mark.records >= half or mark is self.marks[-1])


@contextmanager
def submitted(held: Stores, script: Path, *arguments: str, log: str, **more: str) -> Iterator[subprocess.Popen[bytes]]:
    """spark-submit of one of our applications, with the options of the pipeline's own driver."""
    options = configuration(Cluster.LOCAL, "client", held.plan.settings)
    options |= {"spark.jars": ",".join(str(jar) for jar in sorted((JARS / "spark").glob("*.jar")))}
    options |= {"spark.driver.memory": MEMORY}
    flags = [part for name, value in options.items() for part in ("--conf", f"{name}={value}")]
    command = ["spark-submit", "--master", MASTER, *flags, str(script), *arguments]
    with program(held, command, log, **more) as process:
        yield process


@contextmanager
def driver(held: Stores) -> Iterator[subprocess.Popen[bytes]]:
    """The real driver; it stops as the pipeline stops it."""
    with submitted(held, PROJECT_ROOT / DRIVER_SCRIPT, log=DRIVER_LOG) as process:
        try:
            yield process
        finally:
            stop_detached(held.plan.layout, "stream", lambda line: None)


def drained(held: Stores, records: int, seconds: float) -> Course:
    """Start the driver, let it take this many records of the topic of stocks, stop it."""
    began_at = time.monotonic()
    stores = {name: held.pids[name] for name in held.pids}
    with driver(held) as process, held.connect() as connection:
        roots = {"driver": process.pid, **stores}
        course = Course(Mark(began_at, 0, {"driver": 0.0, **cpu_seconds(stores)}))
        while not course.marks or course.end.records < records:
            ended = process.poll() is not None
            if ended or time.monotonic() > began_at + seconds:
                what = "ended" if ended else f"did not finish within {seconds:.0f} s"
                raise StackError(f"the driver {what}: {last_words(held, DRIVER_LOG)}")
            time.sleep(_POLL_SECONDS)
            row = connection.execute(_DONE, (QUERY,)).fetchone()
            done = int(row[0]) if row else 0
            if done > (course.end.records if course.marks else 0):
                course.marks.append(Mark(time.monotonic(), done, cpu_seconds(roots)))
    return course
