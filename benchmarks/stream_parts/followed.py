"""Our own Spark applications that write marks, followed from outside."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from benchmarks.stream_parts.cpu import cpu_seconds
from benchmarks.stream_parts.spark import Course, Mark, submitted
from benchmarks.stream_parts.stores import Stores, last_words
from include.errors import StackError

_POLL_SECONDS = 0.05
T = TypeVar("T")


def followed(
    held: Stores, script: str, arguments: list[str], seconds: float, read: Callable[[Path], T]
) -> tuple[Course, T]:
    """Run one of the applications beside this file to its end; its course, and what `read` finds in its folder.

    FOLDER among the arguments stands for that folder. Raises StackError where it fails or takes too long.
    """
    path, log = Path(__file__).with_name(script), f"bench-{script.removesuffix('.py').replace('_', '-')}"
    with tempfile.TemporaryDirectory(dir=held.folder) as name:
        folder = Path(name)
        given = [name if argument == "FOLDER" else argument for argument in arguments]
        began = time.monotonic()
        course = Course(Mark(began, 0, {"spark": 0.0}))
        with submitted(held, path, *given, log=log) as process:
            while process.poll() is None:
                if time.monotonic() > began + seconds:
                    raise StackError(f"{script} did not end within {seconds:.0f} s: {last_words(held, log)}")
                _note(folder / "marks", course, process.pid)
                time.sleep(_POLL_SECONDS)
        if process.returncode or len(course.marks) < 2:
            raise StackError(f"{script} failed ({process.returncode}): {last_words(held, log)}")
        return course, read(folder)


def _note(marks: Path, course: Course, pid: int) -> None:
    """Give each new mark the CPU of this moment: the poll is short beside a batch."""
    if not marks.exists():
        return
    for line in marks.read_text().splitlines()[len(course.marks) :]:
        at, records = line.split()
        course.marks.append(Mark(float(at), int(records), {"spark": cpu_seconds({"spark": pid})["spark"]}))
