"""The step that the DAG takes: by CRYPTO_STREAMING, by the lease and by what is unfinished."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from include.operations.stream import Launched
from include.operators import trade_stream
from include.operators.detached import launch_detached
from include.settings import Settings
from tests.waiting import wait_until


class Minutes:
    """Coverage that is unfinished until some time."""

    def __init__(self, has_open: bool, seconds_ago: float) -> None:
        self.has_open = has_open
        self.reserved_through = int((time.time() - seconds_ago) * 1_000_000)


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    taken: list[Any] = []

    def launch(module: str, log_file: Path) -> Launched:
        taken.append((module, log_file.name))
        return Launched(5, lambda: None, lambda: "")

    def running(_url: str, start: Any, **_more: Any) -> dict[str, Any]:
        start()
        return {"step": "started"}

    monkeypatch.setattr(trade_stream, "launch_module", launch)
    monkeypatch.setattr(trade_stream, "ensure_running", running)
    return taken


def configured(tmp_path: Path, **changes: Any) -> Settings:
    return Settings(market="sandbox", pipeline_home=tmp_path, database_url="postgresql://x/y", **changes)


def test_switched_on_it_is_kept_running(steps: list[Any], tmp_path: Path) -> None:
    report = trade_stream.ensure_trade_stream(configured(tmp_path, crypto_streaming=True))
    assert report == {"step": "started"}
    assert steps == [("include.producers.trade_stream_main", "trades.log")]


@pytest.mark.parametrize(
    ("stopped", "minutes", "step", "launches"),
    [
        ("stopping", (True, 60), "stopping", 0),
        ("stopped", (False, 60), "stopped", 0),
        ("stopped", (True, 5), "stopped", 0),
        ("stopped", (True, 60), "finishing", 1),
    ],
)
def test_switched_off_it_is_stopped_and_what_it_began_is_finished(
    monkeypatch: pytest.MonkeyPatch,
    steps: list[Any],
    tmp_path: Path,
    stopped: str,
    minutes: tuple[bool, float],
    step: str,
    launches: int,
) -> None:
    monkeypatch.setattr(trade_stream, "ensure_stopped", lambda *_: {"step": stopped})
    monkeypatch.setattr(trade_stream, "PostgresTradedMinutes", lambda _url: Minutes(*minutes))
    assert trade_stream.ensure_trade_stream(configured(tmp_path))["step"] == step
    assert len(steps) == launches


def test_a_detached_process_has_its_own_session_and_its_last_words_are_kept(tmp_path: Path) -> None:
    code = "import os, sys; print('mine' if os.getsid(0) == os.getpid() else 'not mine'); print(os.environ['MORE'])"
    launched = launch_detached(["python3", "-c", code], tmp_path / "logs" / "x.log", {"MORE": "the end"})
    wait_until(lambda: launched.poll() is not None, seconds=10, what="the end of the process")
    assert launched.last_words() == "the end"
    assert (tmp_path / "logs" / "x.log").read_text().splitlines()[0] == "mine"
