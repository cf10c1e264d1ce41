"""The Quix Streams application beside ours: its environment, and a run of it."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.stream_parts.spark import Course, Mark
from benchmarks.stream_parts.stores import Stores, finished, program
from include.errors import MarketDataError
from include.settings import PROJECT_ROOT, load_settings
from include.stack.bootstrap import index_settings
from include.stack.layout import ENVIRONMENT

APPLICATION = PROJECT_ROOT / "benchmarks" / "quix" / "app.py"
REQUIREMENTS = APPLICATION.with_name("requirements.txt")
OUT_TOPIC = "bench.quix.candles"
_STAMP = ".complete"


class NoQuix(MarketDataError):
    """Its packages cannot be had here; the rest of the benchmark does without."""


def environment() -> Path:
    """The Python of Quix's own environment, built on first use from the hash-locked list. Raises NoQuix."""
    digest = hashlib.sha256(REQUIREMENTS.read_bytes() + sys.version.encode()).hexdigest()[:12]
    folder = load_settings(with_stack=False).pipeline_home / "benchmarks" / f"quix-{digest}"
    python = folder / "bin" / "python"
    if (folder / _STAMP).exists():
        return python
    shutil.rmtree(folder, ignore_errors=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    uv = str(ENVIRONMENT / "bin" / "uv")
    _run([uv, "venv", "--quiet", "--python", sys.executable, str(folder)])
    _run([uv, "pip", "install", "--quiet", "--require-hashes", "--python", str(python), "-r", str(REQUIREMENTS)])
    (folder / _STAMP).touch()
    return python


def drained(held: Stores, python: Path, topic: str, records: int, seconds: float) -> Course:
    """One run over all records of the topic; its candles are in OUT_TOPIC afterwards."""
    held.new_topic(OUT_TOPIC)
    with tempfile.TemporaryDirectory(dir=held.folder) as name:
        folder = Path(name)
        began = Mark(time.monotonic(), 0, {"quix": 0.0})
        arguments = [held.servers, topic, OUT_TOPIC, f"bench-{folder.name}", str(folder)]
        # Our packages are not its packages.
        with program(held, [str(python), str(APPLICATION), *arguments], "bench-quix", PYTHONPATH="") as process:
            finished(process, held, "bench-quix", seconds)
        marks = [line.split() for line in (folder / "marks").read_text().splitlines()]
    course = Course(began, [Mark(float(at), int(done), {"quix": float(cpu)}) for at, done, cpu in marks if done != "0"])
    if not course.marks or records - course.end.records > 10_000:
        raise MarketDataError(f"Quix took {course.end.records if course.marks else 0} of {records} records")
    return course


def _run(command: list[str]) -> None:
    made = subprocess.run(command, env=os.environ | index_settings(), capture_output=True, text=True, cwd=PROJECT_ROOT)
    if made.returncode:
        lines = [line.strip() for line in made.stderr.splitlines() if line.strip()]
        raise NoQuix(f"Quix Streams cannot be installed here ({(lines or ['no reason given'])[-1][:200]})")
