"""The step that the DAG takes: by CRYPTO_STREAMING, by the lease and by what is unfinished."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from include.operations.own_processes import look, this_host
from include.operations.stream import Application, Launched
from include.operations.supervision import Process
from include.operators import trade_stream
from include.operators.detached import last_words, launch_detached
from include.settings import Settings
from include.storage.lease import StreamState, process_started
from include.storage.supervision import Start
from tests.unit.operations.record_twin import RecordTwin
from tests.waiting import wait_until


class Minutes:
    """Coverage that is unfinished until some time."""

    def __init__(self, has_open: bool, seconds_ago: float) -> None:
        self.has_open = has_open
        self.reserved_through = int((time.time() - seconds_ago) * 1_000_000)


@pytest.fixture
def twin(monkeypatch: pytest.MonkeyPatch) -> RecordTwin:
    found = RecordTwin()

    @contextmanager
    def opened(_url: str, application: Application) -> Iterator[RecordTwin]:
        assert application.name == "crypto_trades"
        yield found

    monkeypatch.setattr(trade_stream, "opened_store", opened)
    return found


@pytest.fixture
def launches(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """Starts nothing; says what would be, with this very process in its place."""
    made: list[tuple[str, str]] = []

    def launch(module: str, log_file: Path) -> Launched:
        made.append((module, log_file.name))
        return Launched(os.getpid())

    monkeypatch.setattr(trade_stream, "launch_module", launch)
    return made


def configured(tmp_path: Path, **changes: Any) -> Settings:
    return Settings(market="sandbox", pipeline_home=tmp_path, database_url="postgresql://x/y", **changes)


def test_switched_on_it_is_kept_running(twin: RecordTwin, launches: list[tuple[str, str]], tmp_path: Path) -> None:
    on = configured(tmp_path, crypto_streaming=True)
    assert trade_stream.ensure_trade_stream(on)["state"] == "starting"
    assert launches == [("include.producers.trade_stream_main", "trades.log")]
    assert trade_stream.ensure_trade_stream(on)["state"] == "starting"
    now = datetime.now(UTC)
    details = {"state": "streaming", "source": "binance", "symbols": 3, "behind": []}
    owner = f"{this_host()}:{os.getpid()}"
    began = process_started(os.getpid())
    twin.lease = StreamState(1, owner, os.getpid(), now, now, "running", details, None, began)
    told = trade_stream.ensure_trade_stream(on)
    # Its own figures stand beside the supervisor's words.
    assert (told["state"], told["figures"], told["lag"]) == ("running", details, None)
    assert len(launches) == 1


@pytest.mark.parametrize(
    ("minutes", "state", "started"),
    [((False, 60), "off", 0), ((True, 5), "off", 0), ((True, 60), "starting", 1)],
)
def test_switched_off_what_it_began_is_finished_once(
    monkeypatch: pytest.MonkeyPatch,
    twin: RecordTwin,
    launches: list[tuple[str, str]],
    tmp_path: Path,
    minutes: tuple[bool, float],
    state: str,
    started: int,
) -> None:
    monkeypatch.setattr(trade_stream, "PostgresTradedMinutes", lambda _url: Minutes(*minutes))
    assert trade_stream.ensure_trade_stream(configured(tmp_path))["state"] == state
    # The next minute leaves the one that finishes alone.
    assert trade_stream.ensure_trade_stream(configured(tmp_path))["state"] == state
    assert len(launches) == started


def test_switched_off_it_is_stopped(twin: RecordTwin, launches: list[tuple[str, str]], tmp_path: Path) -> None:
    now = datetime.now(UTC)
    twin.lease = StreamState(1, "elsewhere:5", 5, now, now, "running", {"state": "streaming"}, None)
    twin.starts = [Start(1, 1, now, "first start", "elsewhere", 5)]

    def leaves(record: RecordTwin) -> None:
        if record.lease is not None and record.lease.stop_epoch == 1 and record.lease.owner is not None:
            record.expire(1, "")

    twin.on_read = leaves
    assert trade_stream.ensure_trade_stream(configured(tmp_path))["state"] == "stopping"
    assert (twin.starts[0].outcome, twin.starts[0].reason) == ("stopped", "CRYPTO_STREAMING is off")
    assert launches == []


def test_a_detached_process_has_its_own_session_and_its_last_words_are_kept(tmp_path: Path) -> None:
    code = "import os, sys; print('mine' if os.getsid(0) == os.getpid() else 'not mine'); print(os.environ['MORE'])"
    launched = launch_detached(["python3", "-c", code], tmp_path / "logs" / "x.log", {"MORE": "the end"})
    log = tmp_path / "logs" / "x.log"
    assert launched.pid is not None
    began = process_started(launched.pid)
    wait_until(lambda: look(launched.pid, began) is Process.GONE, seconds=10, what="the end of the process")
    assert last_words(log) == "the end"
    assert log.read_text().splitlines()[0] == "mine"
