"""The whole chain on a recorded day: what PostgreSQL holds equals the recording to the last digit."""

from __future__ import annotations

import csv
import gzip
import json
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.conftest import RECORDED_MINUTES, RunningStack, started_stack
from tests.waiting import wait_until

#: A whole stack more; that recorded bars become the same candles is in the integration tests.
pytestmark = pytest.mark.exhaustive
SYMBOLS = ("SPY", "IBM", "BAC", "AIG")
Row = tuple[Decimal, Decimal, Decimal, Decimal, Decimal]


@pytest.fixture(scope="module")
def replay(shared_data: Path) -> Iterator[RunningStack]:
    with started_stack(
        "replay",
        REPLAY_DATA_DIR=str(shared_data / RECORDED_MINUTES),
        STOCK_SYMBOLS=",".join(SYMBOLS),
        CRYPTO_SYMBOLS="",
        INITIAL_LOOKBACK_MINUTES="420",
    ) as started:
        yield started


def recorded(folder: Path, symbol: str) -> dict[datetime, Row]:
    """The recording read on its own, with nothing of the product."""
    bars: dict[datetime, Row] = {}
    for file in sorted(folder.glob(f"{symbol}_*.csv.gz")):
        with gzip.open(file, "rt") as stream:
            for line in csv.DictReader(stream):
                time = datetime.fromisoformat(line["ts_utc"])
                figures = (line[name] for name in ("open", "high", "low", "close", "volume"))
                bars[time] = tuple(Decimal(figure) for figure in figures)  # type: ignore[assignment]
    return bars


def candles(database_url: str, symbol: str, interval: str) -> dict[datetime, Row]:
    with psycopg.connect(database_url) as connection:
        rows = connection.execute(
            "SELECT window_start, open, high, low, close, volume FROM candles "
            "WHERE symbol = %s AND interval = %s ORDER BY window_start",
            (symbol, interval),
        ).fetchall()
    return {row[0].astimezone(UTC): row[1:] for row in rows}


def shifts(stack: RunningStack) -> list[dict[str, Any]]:
    url = stack.env["YAHOO_BASE_URL"].replace("/yahoo", "/sandbox/status")
    with urllib.request.urlopen(url) as answer:
        return json.load(answer)["timeline"]


def recorded_time(time: datetime, timeline: list[dict[str, Any]]) -> datetime:
    for segment in timeline:
        start = datetime.fromisoformat(segment["replay_start"])
        if start <= time < datetime.fromisoformat(segment["replay_end"]):
            return datetime.fromisoformat(segment["recorded_start"]) + (time - start)
    raise AssertionError(f"{time} lies in no replayed day")


def stored(stack: RunningStack, at_least: int) -> dict[str, dict[datetime, Row]]:
    def all_there() -> dict[str, dict[datetime, Row]] | None:
        found = {symbol: candles(stack.env["DATABASE_URL"], symbol, "1m") for symbol in SYMBOLS}
        return found if all(len(rows) >= at_least for rows in found.values()) else None

    return wait_until(all_there, seconds=150, what=f"{at_least} candles of each symbol")


def test_up_returns_when_the_first_candle_is_stored(replay: RunningStack) -> None:
    with psycopg.connect(replay.env["DATABASE_URL"]) as connection:
        assert connection.execute("SELECT count(*) FROM candles").fetchone() != (0,)
        assert connection.execute("SELECT market FROM market.platform").fetchone() == ("replay",)


def test_minute_candles_equal_the_recorded_minutes_to_the_last_digit(replay: RunningStack, shared_data: Path) -> None:
    timeline = shifts(replay)
    for symbol, rows in stored(replay, at_least=120).items():
        bars = recorded(shared_data / RECORDED_MINUTES, symbol)
        # The running minute is a quote's until its bar arrives.
        closed = [time for time in rows if time < max(rows) - timedelta(minutes=1)]
        for time in closed:
            assert rows[time] == bars[recorded_time(time, timeline)], f"{symbol} at {time}"
        first, last = recorded_time(min(closed), timeline), recorded_time(max(closed), timeline)
        expected = [time for time in bars if first <= time <= last]
        assert [recorded_time(time, timeline) for time in closed] == sorted(expected), symbol


def test_five_minute_candles_are_their_minutes(replay: RunningStack) -> None:
    minutes = stored(replay, at_least=120)
    for symbol in SYMBOLS:
        rows = candles(replay.env["DATABASE_URL"], symbol, "5m")
        newest = max(minutes[symbol]) - timedelta(minutes=10)
        whole = {start: row for start, row in rows.items() if start < newest}
        assert len(whole) > 10
        for start, row in whole.items():
            inside = [
                figures for time, figures in minutes[symbol].items() if start <= time < start + timedelta(minutes=5)
            ]
            assert row == (
                inside[0][0],
                max(figures[1] for figures in inside),
                min(figures[2] for figures in inside),
                inside[-1][3],
                sum(figures[4] for figures in inside),
            ), f"{symbol} at {start}"
