"""One step of keeping the driver alive, with a launcher that only pretends to start a process."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from include.operations import stream
from include.operations.stream import DriverFailed, Launched, ensure_running
from include.storage.lease import StreamState


def state(age_seconds: float, epoch: int = 1, owner: str | None = "host:1", **more: Any) -> StreamState:
    beat = datetime.now(UTC) - timedelta(seconds=age_seconds)
    fields = {"pid": 7, "started_at": beat, "desired_state": "running", "last_error": None, **more}
    details = {"queries": {"events_stock": {"lag": 2}, "events_crypto": {"lag": 3}}}
    return StreamState(epoch=epoch, owner=owner, heartbeat_at=beat, details=details, **fields)


@pytest.fixture
def lease(monkeypatch: pytest.MonkeyPatch) -> list[StreamState | None]:
    """What reading the lease gives, one entry a look; the last one stays."""
    looks: list[StreamState | None] = []

    def look(_url: str, _application: str) -> StreamState | None:
        return looks.pop(0) if len(looks) > 1 else looks[0]

    monkeypatch.setattr(stream, "read_stream_state", look)
    monkeypatch.setattr(stream, "POLL_SECONDS", 0)
    return looks


def never() -> Launched:
    raise AssertionError("a driver was started")


def test_a_live_driver_is_left_alone_and_reported(lease: list[StreamState | None]) -> None:
    lease.append(state(age_seconds=1))
    report = ensure_running("url", never)
    assert (report["step"], report["pid"], report["lag"]) == ("running", 7, 5)


@pytest.mark.parametrize("before", [None, state(age_seconds=60), state(age_seconds=1, owner=None)])
def test_a_dead_a_silent_or_no_driver_is_replaced(lease: list[StreamState | None], before: StreamState | None) -> None:
    lease += [before, before, state(age_seconds=0, epoch=2)]
    started = []

    def launch() -> Launched:
        started.append(1)
        return Launched(8, lambda: None, lambda: "")

    assert ensure_running("url", launch)["step"] == "started"
    assert started == [1]


def test_a_driver_that_ends_at_once_fails_the_run_with_its_reason(lease: list[StreamState | None]) -> None:
    lease.append(None)
    with pytest.raises(DriverFailed, match="ended with code 1: no such topic"):
        ensure_running("url", lambda: Launched(8, lambda: 1, lambda: "no such topic"))


def test_a_driver_that_never_comes_to_life_fails_the_run(lease: list[StreamState | None]) -> None:
    lease.append(None)
    ticks = iter(range(1_000))
    with pytest.raises(DriverFailed, match="does not come to life within 120 s"):
        ensure_running("url", lambda: Launched(8, lambda: None, lambda: "…"), clock=lambda: float(next(ticks)))
