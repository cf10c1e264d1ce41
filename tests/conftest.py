"""Fixtures of all tests: the recorded data, and real services with their own ports and state."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest

from include.settings import PROJECT_ROOT
from tests.ports import free_port_offset
from tests.stores import services

__all__ = ["services"]

RECORDED_MINUTES = Path("bars_1m") / "us_equity"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of recorded market data; it stands beside the project or where SHARED_DATA_DIR says."""
    folder = Path(os.environ.get("SHARED_DATA_DIR", PROJECT_ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"recorded market data is not here ({folder}): set SHARED_DATA_DIR")
    return folder


@dataclass(frozen=True, slots=True)
class RunningStack:
    """A whole stack, started by the command that users type. `env` is what `./pipeline env` prints."""

    home: Path
    variables: dict[str, str]
    env: dict[str, str]
    seconds_to_start: float

    def run(self, *arguments: str, timeout: float = 120) -> subprocess.CompletedProcess[str]:
        """`./pipeline …` on this stack."""
        return pipeline(self.variables, *arguments, timeout=timeout)


def pipeline(variables: dict[str, str], *arguments: str, timeout: float = 120) -> subprocess.CompletedProcess[str]:
    """The project's command with these settings and none of the caller's."""
    kept = {name: value for name, value in os.environ.items() if name not in _foreign_settings()}
    return subprocess.run(
        [str(PROJECT_ROOT / "pipeline"), *arguments],
        env=kept | variables,
        cwd=PROJECT_ROOT,
        capture_output=True,
        text=True,
        timeout=timeout,
    )


@contextmanager
def started_stack(market: str, **settings: str) -> Iterator[RunningStack]:
    """A whole stack of a market with further settings, which is stopped and cleared away at the end."""
    home = Path(tempfile.mkdtemp(prefix=f"stack-{market}-"))
    variables = {
        "PIPELINE_HOME": str(home),
        "PIPELINE_PORT_OFFSET": str(free_port_offset()),
        "MARKET": market,
        **settings,
    }
    try:
        begun = time.monotonic()
        up = pipeline(variables, "up", "--wait", timeout=420)
        seconds = time.monotonic() - begun
        if up.returncode != 0:
            logs = pipeline(variables, "logs").stdout
            pytest.fail(f"up failed: {up.stderr}\n{logs[-6000:]}")
        lines = pipeline(variables, "env").stdout.splitlines()
        yield RunningStack(home, variables, dict(line.split("=", 1) for line in lines), seconds)
    finally:
        down = pipeline(variables, "down", timeout=180)
        _keep_logs(home, market)
        shutil.rmtree(home, ignore_errors=True)
    assert down.returncode == 0, down.stderr


@pytest.fixture(scope="session")
def stack() -> Iterator[RunningStack]:
    """One sandbox stack for all tests that only need a running one."""
    with started_stack("sandbox") as started:
        yield started


@pytest.fixture(scope="session")
def token(stack: RunningStack) -> str:
    """Of Airflow's API."""
    login = {"username": stack.env["AIRFLOW_USERNAME"], "password": stack.env["AIRFLOW_PASSWORD"]}
    answer = httpx2.post(f"{stack.env['AIRFLOW_URL']}/auth/token", json=login).raise_for_status().json()
    return str(answer["access_token"])


@pytest.fixture(scope="session")
def api(stack: RunningStack, token: str) -> Iterator[httpx2.Client]:
    """Airflow's API as its users call it."""
    headers = {"Authorization": f"Bearer {token}"}
    with httpx2.Client(base_url=f"{stack.env['AIRFLOW_URL']}/api/v2", headers=headers, timeout=30) as client:
        yield client


def _foreign_settings() -> set[str]:
    from include.settings import Settings

    return {name.upper() for name in Settings.model_fields}


def _keep_logs(home: Path, market: str) -> None:
    """What a failed run is understood by afterwards."""
    kept = PROJECT_ROOT / "test-results" / "logs" / market
    shutil.rmtree(kept, ignore_errors=True)
    source = home / market / "logs"
    if source.exists():
        shutil.copytree(source, kept)
