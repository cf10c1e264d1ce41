from __future__ import annotations

import csv
import gzip
import json
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from include.errors import SettingsError
from include.market.event import AssetClass
from include.sandbox.app import open_market
from include.sandbox.bars import DAY, MINUTE
from include.sandbox.market import Market
from include.settings import Settings
from include.sources.catalogue import catalogue
from tests.unit.sandbox.conftest import NOW, at, client, flat, replay, write_recording

WALL = NOW - NOW % MINUTE


def two_days(folder: Path) -> Path:
    """Two short days: IBM misses a minute of the first, and starts late on the second."""
    rows = {
        "IBM": ["2013-10-08T14:00:00Z", "2013-10-08T14:02:00Z", "2013-10-09T15:31:00Z"],
        "SPY": ["2013-10-08T14:01:00Z", "2013-10-08T14:03:00Z", "2013-10-09T15:29:00Z", "2013-10-09T15:32:00Z"],
    }
    for symbol, stamps in rows.items():
        write_recording(folder, symbol, [flat(symbol, stamp, f"{10 + i}.50") for i, stamp in enumerate(stamps)])
    return folder


def starts(market: Market, symbol: str, start: int, end: int) -> list[int]:
    return market.minutes(symbol, start, end).start.tolist()


def test_days_lie_end_to_end_with_one_shift_for_all_symbols(tmp_path: Path) -> None:
    market = replay(tmp_path, two_days(tmp_path / "bars"), NOW, stock_symbols=("IBM", "SPY"))
    # The first day spans 14:00 to 14:04, the second 15:29 to 15:33, and now is its 15:30.
    day2, day1, lap = WALL - MINUTE, WALL - 5 * MINUTE, 8 * MINUTE
    assert starts(market, "SPY", day1, day1 + lap) == [day1 + 60, day1 + 180, day2, day2 + 180]
    assert starts(market, "IBM", day1, day1 + lap) == [day1, day1 + 120, day2 + 120]
    # The lap before and the lap after are the same, later and earlier.
    for laps in (-300, -1, 1, 50):
        shifted = starts(market, "SPY", day1 + laps * lap, day1 + (laps + 1) * lap)
        assert shifted == [start + laps * lap for start in starts(market, "SPY", day1, day1 + lap)]
    # Cut anywhere, the pieces are those of the whole.
    whole = list(market.minutes("SPY", day1 - lap, day1 + 2 * lap))
    pieces = [
        bar
        for first in range(day1 - lap, day1 + 2 * lap, 100)
        for bar in market.minutes("SPY", first, min(first + 100, day1 + 2 * lap))
    ]
    assert pieces == whole


def test_the_status_maps_every_replayed_minute_to_its_recorded_one(tmp_path: Path) -> None:
    market = replay(tmp_path, two_days(tmp_path / "bars"), NOW, stock_symbols=("IBM", "SPY"))
    status = client(market).get("/sandbox/status").json()
    assert status["market"] == "replay"
    assert status["symbols"] == {"stock": ["IBM", "SPY"], "crypto": []}
    timeline = status["timeline"]
    assert at(timeline[0]["replay_start"]) <= NOW - 7 * DAY
    assert at(timeline[-1]["replay_end"]) >= NOW + 2 * DAY
    for before, after in pairwise(timeline):
        assert before["replay_end"] == after["replay_start"]
    now_in = [s for s in timeline if at(s["replay_start"]) <= WALL < at(s["replay_end"])]
    assert [(s["recorded_day"], WALL - s["shift_seconds"]) for s in now_in] == [
        ("2013-10-09", at("2013-10-09T15:30:00Z"))
    ]
    recorded = {"2013-10-08": ("14:00", "14:04"), "2013-10-09": ("15:29", "15:33")}
    for segment in timeline:
        for which in (0, 1):
            key = ("recorded_start", "recorded_end")[which]
            assert segment[key] == f"{segment['recorded_day']}T{recorded[segment['recorded_day']][which]}:00Z"
            replayed = at(segment[key.replace("recorded", "replay")])
            assert replayed == at(segment[key]) + segment["shift_seconds"]


def test_history_does_not_move_when_the_server_starts_again(tmp_path: Path) -> None:
    recordings = two_days(tmp_path / "bars")
    first = replay(tmp_path, recordings, NOW)
    anchor = (tmp_path / "replay" / "replay_anchor.json").read_text()
    assert json.loads(anchor)["recorded"] == "2013-10-09T15:30:00Z"
    again = replay(tmp_path, recordings, NOW + 12_345)
    assert (tmp_path / "replay" / "replay_anchor.json").read_text() == anchor
    assert starts(again, "SPY", NOW - DAY, NOW) == starts(first, "SPY", NOW - DAY, NOW)


def test_other_recordings_under_the_same_state_are_refused(tmp_path: Path) -> None:
    recordings = two_days(tmp_path / "bars")
    replay(tmp_path, recordings, NOW)
    write_recording(recordings, "more", [flat("BAC", "2013-10-10T14:00:00Z")])
    with pytest.raises(SettingsError, match=r"REPLAY_DATA_DIR.*reset"):
        replay(tmp_path, recordings, NOW)


def first_recorded(home: Path) -> str:
    return json.loads((home / "replay" / "replay_anchor.json").read_text())["recorded"]


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        # Most configured symbols first, then the longer run, then its last day.
        (
            {
                "IBM": ["2013-10-07", "2013-10-08", "2013-10-10"],
                "SPY": ["2013-10-07", "2013-10-08", "2013-10-10"],
                "BAC": ["2014-01-06", "2014-01-07", "2014-01-08"],
            },
            "2013-10-08T15:30:00Z",
        ),
        # A weekend does not end a run.
        ({"IBM": ["2013-10-03", "2013-10-04", "2013-10-07", "2013-10-09", "2013-10-10"]}, "2013-10-07T15:30:00Z"),
        # Of equally long runs the newest.
        ({"IBM": ["2013-10-03", "2013-10-09"]}, "2013-10-09T15:30:00Z"),
    ],
)
def test_where_a_replay_starts(tmp_path: Path, rows: dict[str, list[str]], expected: str) -> None:
    for symbol, days in rows.items():
        stamps = [f"{day}T{time}:00Z" for day in days for time in ("14:00", "17:00")]
        write_recording(tmp_path / "bars", symbol, [flat(symbol, stamp) for stamp in stamps])
    replay(tmp_path, tmp_path / "bars", NOW, stock_symbols=("IBM", "SPY"))
    assert first_recorded(tmp_path) == expected


def test_a_day_without_half_past_three_starts_in_its_middle(tmp_path: Path) -> None:
    rows = [flat("IBM", "2013-10-08T08:00:00Z"), flat("IBM", "2013-10-08T09:00:00Z")]
    write_recording(tmp_path / "bars", "x", rows)
    replay(tmp_path, tmp_path / "bars", NOW)
    assert first_recorded(tmp_path) == "2013-10-08T08:30:00Z"


def test_the_evening_of_a_winter_day_belongs_to_it(tmp_path: Path) -> None:
    stamps = ["2014-01-07T14:30:00Z", "2014-01-08T00:59:00Z", "2014-01-08T09:00:00Z", "2014-01-08T21:00:00Z"]
    write_recording(tmp_path / "bars", "x", [flat("IBM", stamp) for stamp in stamps])
    market = replay(tmp_path, tmp_path / "bars", NOW)
    segments = {s.recorded_day: s.as_json() for s in market.timeline(NOW - DAY, NOW)}
    assert segments["2014-01-07"]["recorded_end"] == "2014-01-08T01:00:00Z"
    assert segments["2014-01-08"]["recorded_start"] == "2014-01-08T09:00:00Z"


def test_coins_are_known_by_the_catalogue_and_have_utc_days(tmp_path: Path) -> None:
    stamps = ["2018-04-04T00:00:00Z", "2018-04-04T23:59:00Z", "2018-04-05T00:00:00Z", "2018-04-05T23:59:00Z"]
    write_recording(tmp_path / "bars", "btc", [flat("BTC-USD", s, "6782.6", "7.14319709") for s in stamps])
    write_recording(tmp_path / "bars", "zzz", [flat("ZZZ", stamps[0])])
    market = replay(tmp_path, tmp_path / "bars", NOW)
    assert market.symbols("crypto") == ("BTC-USD",)
    assert market.symbols("stock") == ("ZZZ",)
    assert {s.recorded_day for s in market.timeline(NOW - DAY, NOW)} == {"2018-04-04", "2018-04-05"}
    (bar, *_) = market.minutes("BTC-USD", NOW - DAY, NOW + DAY)
    assert (bar.open, bar.volume) == (Decimal("6782.6"), Decimal("7.14319709"))


GOOD = "IBM,2013-10-08T14:00:00Z,1,2,1,2,10"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("symbol,open\nIBM,1\n", "no column ts_utc, high, low, close, volume"),
        (f"HEADER\n{GOOD}\nIBM,2013-10-08T14:01:00Z,1,2,x,2,10\n", "line 3: .* not all numbers"),
        ("HEADER\nIBM,2013-10-08T14:00:30Z,1,2,1,2,10\n", "line 2: .* not the start of a minute"),
        ("HEADER\nIBM,yesterday,1,2,1,2,10\n", "line 2: .* not an ISO 8601 time"),
        ("HEADER\nIBM,2013-10-08T14:00:00Z,3,2,1,2,10\n", "line 2: .* do not hold"),
        ("HEADER\nIBM,2013-10-08T14:00:00Z,0,2,0,2,10\n", "line 2: .* do not hold"),
        ("HEADER\nIBM,2013-10-08T14:00:00Z,1,2,1,2,-1\n", "line 2: .* do not hold"),
        ("HEADER\nIBM,2013-10-08T14:00:00Z,1,inf,1,2,1\n", "line 2: .* not finite"),
        ("HEADER\nIBM,2013-10-08T14:00:00Z,1,nan,1,2,1\n", "line 2: .* not finite"),
        ("HEADER\n,2013-10-08T14:00:00Z,1,2,1,2,1\n", "line 2: the symbol is missing"),
        ("HEADER\nIBM,2013-10-08T14:00:00Z,1,2\n", "line 2"),
        (f"HEADER\n{GOOD}\n{GOOD}1\n", "line 3: IBM has two different bars"),
        ("HEADER\nIBM,2013-10-08T14:00:00Z,1.123456789,2,1,2,10\n", "more than 8 decimals"),
        ("HEADER\nIBM,2013-10-08T14:00:00Z,1,1e300,1,2,10\n", "too large"),
        ("HEADER\n", "has no bar"),
    ],
)
def test_a_bad_file_is_named_in_one_line(tmp_path: Path, text: str, said: str) -> None:
    with gzip.open(tmp_path / "bad.csv.gz", "wt") as file:
        file.write(text.replace("HEADER", "symbol,ts_utc,open,high,low,close,volume"))
    with pytest.raises(SettingsError, match=f"^REPLAY_DATA_DIR.*{said}") as refused:
        replay(tmp_path / "home", tmp_path, NOW)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("content", [b"not compressed", b"\x1f\x8b\x08", b"\x1f\x8b\x08\x00" + b"\xff" * 40])
def test_a_broken_file_is_named_in_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "bad.csv.gz").write_bytes(content)
    with pytest.raises(SettingsError, match=r"^REPLAY_DATA_DIR: bad.csv.gz cannot be read"):
        replay(tmp_path / "home", tmp_path, NOW)


@pytest.mark.parametrize(("folder", "said"), [(None, "is not set"), ("none", "is not a folder"), (".", "has no ")])
def test_a_missing_folder_is_refused(tmp_path: Path, folder: str | None, said: str) -> None:
    given: Any = None if folder is None else tmp_path / folder
    with pytest.raises(SettingsError, match=f"^REPLAY_DATA_DIR.*{said}"):
        replay(tmp_path / "home", given, NOW)


@pytest.mark.parametrize("market", [None, "live"])
def test_only_sandbox_and_replay_are_served(market: Any) -> None:
    with pytest.raises(SettingsError, match=r"^MARKET"):
        open_market(Settings(market=market), catalogue(), NOW)


def test_the_shared_recordings_are_replayed_to_the_last_digit(tmp_path: Path, shared_data: Path) -> None:
    folder = shared_data / "bars_1m" / "us_equity"
    market = replay(tmp_path, folder, NOW, stock_symbols=("SPY", "IBM", "BAC", "AIG"))
    assert first_recorded(tmp_path) == "2013-10-09T15:30:00Z"
    segments = market.timeline(WALL - 2 * DAY, WALL + MINUTE)
    by_day = {segment.recorded_day: segment for segment in segments}
    assert list(by_day)[-3:] == ["2013-10-07", "2013-10-08", "2013-10-09"]
    assert WALL - segments[-1].shift_seconds - segments[-1].recorded_start == 7.5 * 3600
    stock: AssetClass = "stock"
    assert set(market.symbols(stock)) == {"AAPL", "AIG", "BAC", "IBM", "SPY"}
    for symbol in ("SPY", "IBM", "BAC", "AIG"):
        with gzip.open(folder / f"{symbol}_20131007-20131009.csv.gz", "rt") as file:
            rows = list(csv.DictReader(file))
        expected = [
            (
                at(row["ts_utc"]) + by_day[row["ts_utc"][:10]].shift_seconds,
                *(Decimal(row[name]) for name in ("open", "high", "low", "close", "volume")),
            )
            for row in rows
        ]
        first = segments[-3].recorded_start + segments[-3].shift_seconds
        last = segments[-1].recorded_end + segments[-1].shift_seconds
        assert [tuple(bar) for bar in market.minutes(symbol, first, last)] == expected
