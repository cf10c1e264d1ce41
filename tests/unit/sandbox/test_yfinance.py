"""The real yfinance, pointed at the sandbox over HTTP, gets every row to the last digit."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yfinance
import yfinance.base
import yfinance.data
import yfinance.scrapers.history
from yfinance.config import YfConfig

from include.sandbox.bars import DAY, MINUTE
from include.sandbox.market import Market
from include.sandbox.simulated import SimulatedMarket
from tests.unit.sandbox.conftest import flat, replay, write_recording


@pytest.fixture
def pointed_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Turns yfinance to another host; its cookie and crumb, which live on fixed hosts, are there already."""
    yfinance.set_tz_cache_location(str(tmp_path))
    monkeypatch.setitem(YfConfig.debug.data, "hide_exceptions", False)
    data = yfinance.data.YfData()
    monkeypatch.setattr(data, "_cookie", True)
    monkeypatch.setattr(data, "_crumb", "sandbox")

    def point(url: str) -> None:
        monkeypatch.setattr(yfinance.base, "_BASE_URL_", url)
        monkeypatch.setattr(yfinance.scrapers.history, "_BASE_URL_", url)

    yield point
    # Past ranges would be answered from memory in the next test.
    yfinance.data.YfData.cache_get.cache_clear()


def history(id_: str, start: int, end: int, prepost: bool) -> list[tuple[Any, ...]]:
    frame = yfinance.Ticker(id_).history(
        interval="1m",
        start=datetime.fromtimestamp(start, UTC),
        end=datetime.fromtimestamp(end, UTC),
        auto_adjust=False,
        actions=False,
        prepost=prepost,
    )
    columns = frame[["Open", "High", "Low", "Close"]].map(lambda price: Decimal(repr(price)))
    return list(
        zip(
            [int(moment.timestamp()) for moment in frame.index],
            *(columns[name] for name in columns),
            frame["Volume"].tolist(),
            strict=True,
        )
    )


def served(market: Market, symbol: str, start: int, end: int) -> list[tuple[Any, ...]]:
    return [tuple(bar) for bar in market.minutes(symbol, start, end)]


@pytest.mark.parametrize("prepost", [False, True])
def test_simulated_minutes(
    simulated: SimulatedMarket, serve: Any, pointed_at: Callable[[str], None], prepost: bool
) -> None:
    with serve(simulated) as url:
        pointed_at(f"{url}/yahoo")
        now = int(time.time())
        start = now - now % MINUTE - 3 * DAY
        for symbol, id_ in (("META", "META"), ("BRK-B", "BRK-B")):
            # A past range across midnights: every row.
            assert history(id_, start, start + 2 * DAY, prepost) == served(simulated, symbol, start, start + 2 * DAY)
            # Up to now: every closed minute, and at most the running one after them.
            rows = history(id_, start + 2 * DAY, now + MINUTE, prepost)
            closed = served(simulated, symbol, start + 2 * DAY, now - now % MINUTE)
            assert rows[: len(closed)] == closed
            assert len(rows) <= len(closed) + 2


@pytest.mark.parametrize("prepost", [False, True])
def test_recorded_minutes(
    tmp_path: Path, serve: Any, pointed_at: Callable[[str], None], shared_data: Path, prepost: bool
) -> None:
    now = int(time.time())
    market = replay(tmp_path, shared_data / "bars_1m" / "us_equity", now, stock_symbols=("SPY", "IBM", "BAC", "AIG"))
    with serve(market) as url:
        pointed_at(f"{url}/yahoo")
        start, end = now - now % MINUTE - DAY, now - now % MINUTE - 2 * MINUTE
        for symbol in ("SPY", "IBM", "BAC", "AIG"):
            expected = served(market, symbol, start, end)
            assert len(expected) > 400
            assert history(symbol, start, end, prepost) == expected


def test_a_symbol_that_trades_seldom_keeps_its_closed_bars(
    tmp_path: Path, serve: Any, pointed_at: Callable[[str], None]
) -> None:
    stamps = ["2013-10-08T15:20:00Z", "2013-10-08T15:26:00Z", "2013-10-08T15:45:00Z"]
    write_recording(tmp_path / "bars", "x", [flat("ZZZ", stamp, "181.5275", "7") for stamp in stamps])
    now = int(time.time())
    market = replay(tmp_path, tmp_path / "bars", now)
    with serve(market, lambda: float(now)) as url:
        pointed_at(f"{url}/yahoo")
        start = now - now % MINUTE - 15 * MINUTE
        # The live row is stamped with the last trade and merged by yfinance into that trade's minute.
        assert history("ZZZ", start, now, False) == served(market, "ZZZ", start, now)


def test_days(simulated: SimulatedMarket, serve: Any, pointed_at: Callable[[str], None]) -> None:
    with serve(simulated) as url:
        pointed_at(f"{url}/yahoo")
        frame = yfinance.Ticker("IBM").history(period="1mo", interval="1d", auto_adjust=False, actions=False)
        today = int(time.time()) // DAY * DAY
        assert [int(day.timestamp()) for day in frame.index][-2:] == [today - DAY, today]
        yesterday = simulated.minutes("IBM", today - DAY, today).resampled(DAY)
        assert [Decimal(repr(float(frame[name].iloc[-2]))) for name in ("Open", "High", "Low", "Close")] == [
            yesterday.price(int(column[0]))
            for column in (yesterday.open, yesterday.high, yesterday.low, yesterday.close)
        ]
        assert frame["Volume"].iloc[-2] == yesterday.volume[0]
