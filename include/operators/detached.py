"""Processes that outlive the task that starts them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from include.operations.stream import Launched
from include.settings import PROJECT_ROOT

LAST_WORDS_BYTES = 4_000


def launch_detached(command: Sequence[str], log_file: Path, further: Mapping[str, str] | None = None) -> Launched:
    """Start the command in a session of its own, output to the log file, and return at once.

    `further` is added to the environment.
    """
    log_file.parent.mkdir(parents=True, exist_ok=True)
    with log_file.open("ab") as output:
        process = subprocess.Popen(
            command,
            cwd=PROJECT_ROOT,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            close_fds=True,
            env=own_environment(os.environ) | dict(further or {}),
        )
    return Launched(process.pid)


def launch_module(module: str, log_file: Path, further: Mapping[str, str] | None = None) -> Launched:
    """`python -m` of a module of ours, detached."""
    return launch_detached([sys.executable, "-m", module], log_file, further)


def own_environment(given: Mapping[str, str]) -> dict[str, str]:
    """The task's environment without what belongs to the task alone."""
    return {name: value for name, value in given.items() if not name.startswith(("AIRFLOW_CTX_", "_AIRFLOW"))}


def last_words(log_file: Path) -> str:
    """The last line of a log that says something."""
    if not log_file.exists():
        return ""
    with log_file.open("rb") as file:
        file.seek(max(0, log_file.stat().st_size - LAST_WORDS_BYTES))
        lines = [line.strip() for line in file.read().decode(errors="replace").splitlines() if line.strip()]
    return lines[-1] if lines else ""
