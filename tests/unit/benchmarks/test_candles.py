"""The other side's candles: as ours where they should be, and unlike where one figure is."""

from __future__ import annotations

import importlib.util
import json
from decimal import Decimal
from types import ModuleType
from typing import Any

import pytest

from benchmarks.stream_parts.candles import CandlesDiffer, from_lines, must_equal
from benchmarks.stream_parts.topic import SECOND, Block, blocks, trades
from include.market.event import decode
from include.settings import PROJECT_ROOT


@pytest.fixture(scope="module")
def candle() -> ModuleType:
    """By its file: Quix's environment does not have our packages, so it stands alone."""
    spec = importlib.util.spec_from_file_location("candle", PROJECT_ROOT / "benchmarks" / "quix" / "candle.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def trade(time: int, price: str, volume: str) -> dict[str, Any]:
    return {"event_time": time, "close": price, "volume": volume}


def test_a_candle_is_folded_by_event_time(candle: ModuleType) -> None:
    minute = candle.opened(trade(20, "101.50", "2.000"))
    for came in (trade(10, "100.00", "1.000"), trade(30, "99.25", "0.500"), trade(30, "99.75", "0.500")):
        minute = candle.folded(minute, came)
    # vwap: (203 + 100 + 49.625 + 49.875) / 4, rounded half up to 12 decimals.
    assert candle.line("S", "1m", 60_000, minute) == [
        *("S", "1m", 60, "100.0000", "101.5000", "99.2500", "99.7500", "4.0000", "100.625000000000", "4")
    ]


def test_vwap_is_rounded_half_up(candle: ModuleType) -> None:
    minute = candle.folded(candle.opened(trade(1, "1.0000", "1.0000")), trade(2, "1.0001", "2.0000"))
    assert candle.line("S", "1m", 0, minute)[8] == "1.000066666667"


def test_five_minutes_are_made_of_their_minutes(candle: ModuleType) -> None:
    first = candle.folded(candle.opened(trade(1, "10.00", "1.000")), trade(2, "12.00", "1.000"))
    later = candle.opened(trade(70, "9.00", "2.000"))
    five = candle.merged(list(first), later)
    assert candle.line("S", "5m", 0, five)[3:8] == ["10.0000", "12.0000", "9.0000", "9.0000", "4.0000"]


def test_one_other_figure_is_named() -> None:
    line = ["S", "1m", 60, "1.0", "2.00", "1", "2", "4", "1.5", "7"]
    ours = from_lines([json.dumps(line)], 120 * SECOND)
    assert ours == {("S", "1m", 60): tuple(Decimal(value) for value in ("1", "2", "1", "2", "4", "1.5", "7"))}
    same = from_lines([json.dumps([*line[:3], "9", *line[4:]]), json.dumps(line)], 120 * SECOND)
    assert must_equal({"ours": ours, "theirs": same}) == {"sides": ["ours", "theirs"], "candles": 1, "events_in_1m": 7}
    other = from_lines([json.dumps([*line[:8], "1.500000000001", "7"])], 120 * SECOND)
    with pytest.raises(CandlesDiffer, match="1.500000000001"):
        must_equal({"ours": ours, "theirs": other})
    with pytest.raises(CandlesDiffer, match="none"):
        must_equal({"ours": ours, "theirs": {}})
    with pytest.raises(CandlesDiffer, match="no candles"):
        must_equal({"ours": {}, "theirs": {}})


def test_windows_behind_the_last_tail_are_left_out() -> None:
    lines = [json.dumps(["S", "1m", start, *["1"] * 7]) for start in (60, 120)]
    assert list(from_lines(lines, 120 * SECOND)) == [("S", "1m", 60)]


def test_blocks_lie_in_the_past_apart_from_each_other_and_are_valid_events() -> None:
    now = 1_900_000_000 * SECOND
    first, second = blocks([3_000, 2_000], symbols=7, per_second=1_000, end_us=now)
    assert first == Block(3_000, 7, 1_000, first.start_us, first.first_id)
    made = [[decode(value.encode()) for _, value in trades(block)] for block in (first, second)]
    assert [len(events) for events in made] == [first.records, second.records] == [3_014, 2_014]
    assert max(event.event_time for event in made[0]) < min(event.event_time for event in made[1])
    assert max(event.event_time for event in made[1]) < now
    assert len({event.event_id for events in made for event in events}) == 5_028
