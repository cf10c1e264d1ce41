"""The steps that follow a decision, on real processes of this machine; the record is a twin."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psutil
import pytest

from include.errors import MarketDataError
from include.operations import stream
from include.operations.own_processes import this_host
from include.operations.stream import SPARK_DRIVER, Launched, Supervision
from include.operations.supervision import QueryBacklog
from include.storage.lease import StreamState, process_started
from include.storage.supervision import Start
from tests.unit.operations.record_twin import RecordTwin
from tests.unit.operations.sights import DETAILS
from tests.waiting import wait_until

#: As spark-submit does: the leader of a session, and a driver that is its child; `stubborn` ignores SIGTERM.
LEADER = """
import signal, subprocess, sys
{stubborn}
driver = "import os, signal, time; {stubborn} print(os.getpid(), flush=True); time.sleep(60)"
subprocess.run([sys.executable, "-c", driver])
"""
IGNORE = "signal.signal(signal.SIGTERM, signal.SIG_IGN);"


class Family:
    """A session of two real processes, the second of which plays the driver."""

    def __init__(self, *, stubborn: bool = False) -> None:
        code = LEADER.format(stubborn=IGNORE if stubborn else "")
        self.leader = subprocess.Popen(
            [sys.executable, "-c", code],
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert self.leader.stdout is not None
        self.driver = psutil.Process(int(self.leader.stdout.readline()))

    def lease(self, **changes: Any) -> StreamState:
        now = datetime.now(UTC)
        fields: dict[str, Any] = {
            "epoch": 4,
            "owner": f"{this_host()}:{self.driver.pid}",
            "pid": self.driver.pid,
            "process_started": process_started(self.driver.pid),
            "started_at": now,
            "heartbeat_at": now,
            "desired_state": "running",
            "details": DETAILS,
            "last_error": None,
        }
        return StreamState(**(fields | changes))

    def start(self, **changes: Any) -> Start:
        fields: dict[str, Any] = {
            "id": 1,
            "epoch": 4,
            "started_at": datetime.now(UTC),
            "cause": "test",
            "host": this_host(),
            "pid": self.leader.pid,
            "process_started": process_started(self.leader.pid),
        }
        return Start(**(fields | changes))

    @property
    def is_gone(self) -> bool:
        gone = not self.driver.is_running() or self.driver.status() == psutil.STATUS_ZOMBIE
        return gone and self.leader.poll() is not None

    def end(self) -> None:
        for process in (self.driver, psutil.Process(self.leader.pid) if self.leader.poll() is None else self.driver):
            if process.is_running():
                process.kill()
        self.leader.wait(10)


@pytest.fixture
def family() -> Iterator[Callable[..., Family]]:
    made: list[Family] = []

    def make(**how: Any) -> Family:
        made.append(Family(**how))
        return made[-1]

    yield make
    for one in made:
        one.end()


@pytest.fixture(autouse=True)
def _hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "STOP_SECONDS", 1.0)
    monkeypatch.setattr(stream, "LEAVE_SECONDS", 0.5)
    monkeypatch.setattr(stream, "POLL_SECONDS", 0.05)


def never(_rebuild: bool) -> Launched:
    raise AssertionError("something was started")


def supervision(twin: RecordTwin, launch: Callable[[bool], Launched] = never, **more: Any) -> Supervision:
    return Supervision(SPARK_DRIVER, twin, launch, **more)  # type: ignore[arg-type]


def test_a_live_driver_is_reported_with_the_measured_lag(family: Callable[..., Family]) -> None:
    twin = RecordTwin(family().lease(), family().start())
    measured = {
        "events_crypto": QueryBacklog(40, False, datetime.now(UTC)),
        "events_stock": QueryBacklog(2, False, None),
    }
    told = supervision(twin, backlog=lambda now, seconds: measured).step()
    assert (told["state"], told["lag"], told["healthy"], told["process"]) == ("running", 42, True, "alive")
    assert (told["spark_ui"], told["queries"]["events_crypto"]["batch_id"]) == ("http://x", 9)
    assert twin.sampled == [42]
    # Without Kafka the driver's own word is taken.
    assert supervision(RecordTwin(family().lease())).step()["lag"] == 3


def test_a_start_is_recorded_with_its_process_and_waited_for_by_others(family: Callable[..., Family]) -> None:
    twin, launched = RecordTwin(), []

    def launch(rebuild: bool) -> Launched:
        assert twin.starts[0].pid is None, "it is recorded before it is made"
        launched.append(rebuild)
        return Launched(family().leader.pid)

    told = supervision(twin, launch).step("rebuild by Ada", rebuild=True)
    assert (told["state"], launched, twin.starts[0].cause) == ("starting", [True], "rebuild by Ada, --rebuild")
    assert twin.starts[0].host == this_host()
    assert twin.starts[0].process_started is not None
    assert supervision(twin).step()["state"] == "starting"


def test_while_another_step_is_taken_nothing_is_done() -> None:
    twin = RecordTwin()
    twin.is_free = False
    assert supervision(twin).step()["state"] == "not started"
    assert twin.starts == []


@pytest.mark.parametrize("victim", ["leader", "driver"])
def test_what_is_left_of_a_dead_driver_is_killed_and_the_next_one_started(
    family: Callable[..., Family], victim: str
) -> None:
    old = family()
    twin = RecordTwin(old.lease(), old.start())
    if victim == "driver":
        old.driver.kill()  # its leader reaps it and ends
        old.leader.wait(10)
    else:
        # A frozen driver: it is there, and does not beat.
        old.driver.send_signal(signal.SIGSTOP)
        old.leader.kill()
        old.leader.wait(10)
        twin.lease = old.lease(heartbeat_at=datetime.now(UTC) - timedelta(seconds=20))
    told = supervision(twin, lambda _rebuild: Launched(family().leader.pid)).step()
    assert told["state"] == "starting"
    assert old.is_gone
    assert twin.lease is not None
    assert twin.lease.owner is None, "the successor need not wait"
    new, ended = twin.starts
    assert new.outcome is None
    assert ended.outcome == "died"
    assert ended.reason is not None
    assert ("gone" if victim == "driver" else "frozen") in ended.reason


def test_a_process_that_got_the_number_since_is_left_alone(family: Callable[..., Family]) -> None:
    stranger = family()
    long_ago = time.time() - 3_600
    held = stranger.lease(process_started=long_ago)
    twin = RecordTwin(held, stranger.start(process_started=long_ago))
    supervision(twin, lambda _rebuild: Launched(family().leader.pid)).step()
    assert twin.starts[1].outcome == "died"
    assert not stranger.is_gone


def test_of_a_driver_started_by_hand_only_itself_is_killed(family: Callable[..., Family]) -> None:
    hand = family()
    frozen = hand.lease(heartbeat_at=datetime.now(UTC) - timedelta(seconds=20))
    twin = RecordTwin(frozen, hand.start(host=None, pid=None, process_started=None, cause="by hand"))
    told = supervision(twin, lambda _rebuild: Launched(os.getpid())).step()
    assert told["state"] == "starting"
    hand.leader.wait(10)  # as spark-submit, it leaves by itself once its child has
    assert hand.is_gone


def test_a_stop_is_asked_for_waited_for_and_recorded(family: Callable[..., Family]) -> None:
    going = family()
    twin = RecordTwin(going.lease(), going.start())

    def leaves(record: RecordTwin) -> None:
        if record.lease is not None and record.lease.stop_epoch == 4 and going.is_gone:
            record.expire(4, "")

    twin.on_read = leaves
    assert supervision(twin).stop("the DAG market_stream is paused")
    assert (twin.starts[0].outcome, twin.starts[0].reason) == ("stopped", "the DAG market_stream is paused")
    wait_until(lambda: going.is_gone, seconds=5, what="the end of the driver")
    assert not supervision(twin).stop("again"), "there is none"


def test_who_does_not_leave_is_killed(family: Callable[..., Family]) -> None:
    stubborn = family(stubborn=True)
    twin = RecordTwin(stubborn.lease(desired_state="stopped", desired_by="Ada", desired_why="lunch"), stubborn.start())
    told = supervision(twin).step()
    assert stubborn.is_gone
    assert (told["state"], told["why"]) == ("stopped on request", "stopped by Ada: lunch")
    assert twin.lease is not None
    assert twin.lease.owner is None
    assert twin.starts[0].reason == "stopped by Ada: lunch; killed after 1 s"


def test_a_driver_of_another_machine_is_asked_and_left_alone(family: Callable[..., Family]) -> None:
    away = family()
    twin = RecordTwin(away.lease(owner=f"elsewhere:{away.driver.pid}"), away.start(host="elsewhere"))
    supervision(twin).stop("reason")
    assert twin.lease is not None
    assert twin.lease.stop_epoch == 4
    assert twin.lease.owner is not None
    assert not away.is_gone


def test_a_driver_that_ends_at_once_is_recorded_with_its_last_words(family: Callable[..., Family]) -> None:
    short = family()
    twin = RecordTwin(None, short.start(epoch=None))
    short.end()
    started = []
    told = supervision(
        twin,
        lambda _rebuild: started.append(1) or Launched(os.getpid()),  # type: ignore[func-returns-value]
        last_words=lambda: "no such topic",
    ).step()
    assert twin.starts[1].outcome == "not started"
    assert twin.starts[1].reason == "it ended before it took the lease; its last words: no such topic"
    assert (told["state"], started) == ("starting", [1])


def test_a_launch_that_fails_is_a_bad_end_and_is_waited_after() -> None:
    twin, tries = RecordTwin(), []

    def launch(_rebuild: bool) -> Launched:
        tries.append(1)
        raise MarketDataError("the cluster did not take the driver")

    told = supervision(twin, launch).step()
    assert len(tries) == 2, "once more at once, then the back-off"
    assert told["state"] == "waiting to restart"
    assert "the cluster did not take the driver" in told["why"]


def test_a_driver_in_a_cluster_has_no_process_here() -> None:
    twin = RecordTwin()
    supervision(twin, lambda _rebuild: Launched(None, "application_1_2"), on_this_host=False).step()
    assert (twin.starts[0].host, twin.starts[0].pid, twin.starts[0].tracked) == (None, None, "application_1_2")
    assert supervision(twin).step()["tracked"] == "application_1_2"


def test_a_broken_stream_says_what_a_person_can_do() -> None:
    now = datetime.now(UTC)
    ends = [
        Start(n, n, now - timedelta(seconds=n * 60), "c", ended_at=now, outcome="failed", reason="no such topic")
        for n in range(1, 6)
    ]
    told = supervision(RecordTwin(None, *ends)).step()
    line = stream.halted(told)
    assert line.startswith("broken: it keeps ending: 5 starts within 15 min ended badly; last failed: no such topic")
    assert "action = start" in line
    assert told["until"] in line
    assert stream.halted({**told, "state": "running"}) == ""
