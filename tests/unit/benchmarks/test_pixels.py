"""From events and what a page showed of them to waits."""

from __future__ import annotations

import pytest

from benchmarks.dashboard import SIZES, chosen
from benchmarks.dashboard_parts.pixels import chart_waits, waits
from benchmarks.stream_parts.generator import PRICES, price
from benchmarks.stream_parts.schedule import Schedule
from include.errors import MarketDataError

#: Ten events a second over two symbols, from the first second on.
SCHEDULE = Schedule(1_000_000, 10, 40, 2)
NAMES = ("AAPL", "MSFT")


def painted(symbol: int, after_us: int, every: int = 1) -> list[tuple[int, int]]:
    return [(due + after_us, due + 999) for due in map(int, SCHEDULE.of_symbol(symbol)[::-1][::every][::-1])]


def test_every_event_counts_until_it_or_a_newer_one_is_painted() -> None:
    seen = {"AAPL": painted(0, 30_000), "MSFT": painted(1, 30_000, every=2)}
    found = waits(SCHEDULE, NAMES, seen, settle_seconds=0)
    # Of MSFT every other event waits for the next one, 200 ms later.
    assert (found["count"], found["p50"], found["max"]) == (40, 30.0, 230.0)


def test_the_start_does_not_count_and_what_never_came_is_said() -> None:
    seen = {"AAPL": painted(0, 30_000), "MSFT": painted(1, 30_000)}
    assert waits(SCHEDULE, NAMES, seen, settle_seconds=2)["count"] == 20
    with pytest.raises(MarketDataError, match="never showed 1 events of MSFT"):
        waits(SCHEDULE, NAMES, seen | {"MSFT": seen["MSFT"][:-1]}, settle_seconds=0)


def test_a_close_tells_its_event_also_when_its_price_comes_again() -> None:
    long = Schedule(1_000_000, 1_000, 4 * PRICES, 2)
    due = long.of_symbol(1)
    numbers = range(1, long.count, 2)
    drawn = [(int(at) + 50_000, price(number)) for at, number in zip(due, numbers, strict=True)]
    found = chart_waits(long, 1, drawn, settle_seconds=0)
    assert (found["count"], found["p50"], found["max"]) == (2 * PRICES, 50.0, 50.0)
    with pytest.raises(MarketDataError, match="never showed"):
        chart_waits(long, 1, [(1_050_000, 7.0)], settle_seconds=0)


def test_options_are_refused_by_name() -> None:
    assert chosen(["--quick", "--rate", "50"]).rate == 50
    assert chosen(["--quick"]).clients == SIZES["clients"][1]
    for options, message in (
        (["--colour", "red"], "does not know --colour red"),
        (["--rate", "fast"], "invalid int value"),
        (["--rounds", "0"], "--rounds must be at least 1"),
    ):
        with pytest.raises(MarketDataError, match=message):
            chosen(options)
