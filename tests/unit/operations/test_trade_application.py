"""The trade stream and the Spark driver are kept alive by the same steps; a stop reaches only the right process."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from include.operations import stream
from include.operations.stream import TRADE_STREAM, DriverFailed, Launched, ensure_running, ensure_stopped
from include.storage.lease import StreamState

DETAILS = {"state": "streaming", "source": "binance", "symbols": 3, "behind": []}


@pytest.fixture
def process() -> Iterator[subprocess.Popen[bytes]]:
    """A real process that may be stopped."""
    started = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    yield started
    started.kill()
    started.wait(10)


def state(pid: int, **changes: Any) -> StreamState:
    now = datetime.now(UTC)
    fields: dict[str, Any] = {
        "epoch": 2,
        "owner": f"{socket.gethostname()}:{pid}",
        "pid": pid,
        "started_at": now + timedelta(seconds=1),
        "heartbeat_at": now,
        "desired_state": "running",
        "details": DETAILS,
        "last_error": None,
    }
    return StreamState(**(fields | changes))


def holds(monkeypatch: pytest.MonkeyPatch, held: StreamState | None) -> list[str]:
    """What the lease table has; the applications that were looked for."""
    looked: list[str] = []

    def look(_url: str, application: str) -> StreamState | None:
        looked.append(application)
        return held

    monkeypatch.setattr(stream, "read_stream_state", look)
    return looked


def test_the_trade_stream_has_its_own_lease_and_report(monkeypatch: pytest.MonkeyPatch) -> None:
    looked = holds(monkeypatch, state(7))
    report = ensure_running("url", lambda: pytest.fail("started"), application=TRADE_STREAM)
    assert looked == ["crypto_trades"]
    assert (report["step"], report["pid"], report["state"], report["behind"]) == ("running", 7, "streaming", [])
    assert "spark_ui" not in report


def test_a_failure_names_the_application(monkeypatch: pytest.MonkeyPatch) -> None:
    holds(monkeypatch, None)
    with pytest.raises(DriverFailed, match="the trade stream ended with code 1: no such setting"):
        ensure_running("url", lambda: Launched(8, lambda: 1, lambda: "no such setting"), application=TRADE_STREAM)


def test_a_live_one_is_asked_to_stop(monkeypatch: pytest.MonkeyPatch, process: subprocess.Popen[bytes]) -> None:
    holds(monkeypatch, state(process.pid))
    assert ensure_stopped("url", TRADE_STREAM)["step"] == "stopping"
    assert process.wait(10) == -signal.SIGTERM


@pytest.mark.parametrize(
    "changes",
    [
        {"owner": "another-machine:1"},
        # A process that is younger than the lease got the number of one that is gone.
        {"started_at": datetime.now(UTC) - timedelta(hours=1)},
    ],
)
def test_another_process_with_that_number_is_left_alone(
    monkeypatch: pytest.MonkeyPatch, process: subprocess.Popen[bytes], changes: dict[str, Any]
) -> None:
    holds(monkeypatch, state(process.pid, **changes))
    assert ensure_stopped("url", TRADE_STREAM)["step"] == "elsewhere"
    assert process.poll() is None


@pytest.mark.parametrize("held", [None, state(7, owner=None), state(7, heartbeat_at=datetime(2026, 1, 1, tzinfo=UTC))])
def test_what_does_not_run_needs_no_stop(monkeypatch: pytest.MonkeyPatch, held: StreamState | None) -> None:
    holds(monkeypatch, held)
    monkeypatch.setattr(os, "kill", lambda *_: pytest.fail("a signal was sent"))
    assert ensure_stopped("url", TRADE_STREAM) == {"step": "stopped"}
