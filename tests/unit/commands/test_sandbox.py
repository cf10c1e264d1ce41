"""`./pipeline sandbox`, against a served sandbox."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from typer.testing import CliRunner, Result

from include.commands import sandbox
from include.commands.sandbox import app, seconds_of
from include.errors import MarketDataError
from include.sandbox.simulated import SimulatedMarket
from include.settings import Ports, Settings
from include.sources.catalogue import catalogue
from tests.unit.sandbox.conftest import NOW, SEED
from tests.unit.sandbox.conftest import serve as serve
from tests.unit.sandbox.test_faults import TICKERS
from tests.unit.sandbox.test_main import free_offset


def run(*words: str) -> Result:
    return CliRunner().invoke(app, words)


def configured(monkeypatch: pytest.MonkeyPatch, **settings: Any) -> None:
    config = Settings(**settings)
    monkeypatch.setattr(sandbox, "settings", lambda: config)


@pytest.fixture
def http(serve: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[httpx2.Client]:
    """A served sandbox, which the command finds by its settings."""
    offset = free_offset()
    configured(monkeypatch, market="sandbox", pipeline_port_offset=offset)
    market = SimulatedMarket(catalogue(), SEED)
    with serve(market, lambda: NOW, port=Ports(offset).sandbox) as url, httpx2.Client(base_url=url) as client:
        yield client


def test_a_fault_is_started_seen_and_cleared(http: httpx2.Client) -> None:
    started = run("fault", "binance", "503", "--symbol", "BTC-USD", "--for", "5m", "--calls", "3")
    assert started.exit_code == 0, started.output
    assert "fault 1: binance 503, until 2026-11-23T10:05:20Z, for 3 calls: 503 -1008" in started.output
    assert http.get(f"{TICKERS}?symbol=BTCUSDT").status_code == 503
    assert http.get(f"{TICKERS}?symbol=ETHUSDT").status_code == 200
    listed = run("faults").output
    assert "BTC-USD" in listed.splitlines()[1]
    assert "serverShutdown is announced" in listed
    assert run("clear", "1").output == "1 ended\n"
    assert run("faults").output.startswith("no fault is active\n")
    assert http.get(f"{TICKERS}?symbol=BTCUSDT").status_code == 200
    assert run("clear").output == "0 ended\n"


def test_the_calls_are_shown(http: httpx2.Client) -> None:
    http.get(TICKERS)
    shown = run("calls", "--source", "binance").output
    (totals,) = [line.split() for line in shown.splitlines() if line.startswith("binance")]
    assert totals == ["binance", "1", "4", "0", "0"]
    assert "/api/v3/ticker/price" in shown


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("fault", "binance", "nope"), "binance has no fault nope: it takes 403"),
        (("fault", "nyse", "429"), "no source nyse"),
        (("fault", "binance", "429", "--for", "soon"), "--for soon: it takes a time such as 90s, 5m or 2h"),
        (("clear", "9"), "no fault 9 is active"),
        (("calls", "--since", "noon"), "since=noon"),
    ],
)
def test_what_cannot_be_done_is_one_line(http: httpx2.Client, words: tuple[str, ...], said: str) -> None:
    ended = run(*words)
    assert ended.exit_code == 1
    assert ended.stderr.startswith(f"pipeline: {said}")
    assert ended.stderr.count("\n") == 1


def test_the_real_sources_take_no_faults(monkeypatch: pytest.MonkeyPatch) -> None:
    configured(monkeypatch, market="live")
    ended = run("fault", "binance", "429")
    assert ended.exit_code == 1
    assert ended.stderr.startswith("pipeline: MARKET=live asks the real sources")
    assert ended.stderr.count("\n") == 1


def test_a_sandbox_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    configured(monkeypatch, market="sandbox", pipeline_port_offset=free_offset())
    ended = run("faults")
    assert ended.exit_code == 1
    assert "the sandbox does not answer" in ended.stderr
    assert ended.stderr.count("\n") == 1


@pytest.mark.parametrize(("text", "seconds"), [("90", 90), ("90s", 90), ("5m", 300), ("2h", 7200), ("1.5m", 90)])
def test_times_are_read(text: str, seconds: float) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "m", "0", "-5", "5d", "1e9", "5 m"])
def test_other_times_are_refused(text: str) -> None:
    with pytest.raises(MarketDataError, match="--for"):
        seconds_of(text)
