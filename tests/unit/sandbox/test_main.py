"""The server as the stack starts it: one command, told by settings alone."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import httpx2
import pytest

from include.settings import PROJECT_ROOT, Ports, Settings

COMMAND = [sys.executable, "-m", "include.sandbox"]


def environment(home: Path, **settings: str) -> dict[str, str]:
    """The caller's environment without its own settings of the project."""
    ours = {name.upper() for name in Settings.model_fields}
    kept = {name: value for name, value in os.environ.items() if name not in ours}
    return kept | {"PIPELINE_HOME": str(home)} | settings


def free_offset() -> int:
    """A port offset at which the sandbox's port is free."""
    for offset in range(32_000, 34_000):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", Ports(offset).sandbox)):
                return offset
    raise AssertionError("no free port")


def test_it_serves_the_simulated_market_until_it_is_told_to_stop(tmp_path: Path) -> None:
    offset = free_offset()
    settings = environment(tmp_path, MARKET="sandbox", SANDBOX_SEED="99", PIPELINE_PORT_OFFSET=str(offset))
    transport = httpx2.HTTPTransport(retries=6)
    with (
        subprocess.Popen(COMMAND, cwd=PROJECT_ROOT, env=settings, stdout=subprocess.PIPE, text=True) as server,
        httpx2.Client(base_url=f"http://127.0.0.1:{Ports(offset).sandbox}", transport=transport) as http,
    ):
        try:
            assert server.stdout is not None
            assert server.stdout.readline().startswith("Simulated market on")
            status = http.get("/sandbox/status").json()
            assert (status["market"], status["seed"], status["timeline"]) == ("sandbox", 99, [])
            assert {"AAPL", "SPY"} < set(status["symbols"]["stock"])
        finally:
            server.terminate()
    # uvicorn ends in good order and then passes on the signal.
    assert server.returncode in (0, -15)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"MARKET": "live"}, "MARKET=live"),
        ({"MARKET": "replay"}, "REPLAY_DATA_DIR is not set"),
        ({"MARKET": "replay", "REPLAY_DATA_DIR": "/nowhere"}, "REPLAY_DATA_DIR=/nowhere is not a folder"),
    ],
)
def test_a_wrong_setting_ends_it_with_one_line(tmp_path: Path, settings: dict[str, str], said: str) -> None:
    ended = subprocess.run(
        COMMAND, cwd=PROJECT_ROOT, env=environment(tmp_path, **settings), capture_output=True, text=True, timeout=60
    )
    assert ended.returncode == 1
    assert ended.stderr.startswith(said)
    assert ended.stderr.count("\n") == 1
