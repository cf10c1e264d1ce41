"""Programs of ours as processes of their own: such as outlive the task that starts them, and such as it waits for."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from include.errors import MarketDataError
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


def run_module(module: str, arguments: Sequence[str], log_file: Path, seconds: float) -> str:
    """`python -m` of a module of ours, waited for; the last line that it prints.

    Raises MarketDataError with its last words, or subprocess.TimeoutExpired.
    """
    log_file.parent.mkdir(parents=True, exist_ok=True)
    with log_file.open("ab") as output:
        done = subprocess.run(
            [sys.executable, "-m", module, *arguments],
            cwd=PROJECT_ROOT,
            stdout=subprocess.PIPE,
            stderr=output,
            text=True,
            timeout=seconds,
            env=own_environment(os.environ),
        )
    if done.returncode != 0:
        raise MarketDataError(f"{module} ended with code {done.returncode}: {last_words(log_file)}")
    return done.stdout.strip().rpartition("\n")[2]


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
