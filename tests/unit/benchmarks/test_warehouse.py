"""The warehouse's benchmark: its options, its figures and its table."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from rich.console import Console

from benchmarks import warehouse
from benchmarks.warehouse_parts.figures import per_tenfold, percentiles
from benchmarks.warehouse_parts.history import END, EVENTS_A_MINUTE, SYMBOLS, beginning, days
from benchmarks.warehouse_parts.questions import CANDLES, COLD_DAY, HOUR, PASTS
from include.errors import MarketDataError

FIT = {level: {"ratio": 1.04, "low": 0.98, "high": 1.101} for level in ("p50", "p95")}
RESULT: dict[str, Any] = {
    "aim": 1.15,
    "symbols": 20,
    "calls": 250,
    "histories": {
        f"{size}": {"days": 3, "market_events": size, "candles": 60_000, "bytes": 64 * 2**20}
        for size in (100_000, 1_000_000)
    },
    "questions": {
        "last 500 candles": {
            "rows": 500,
            "ms": {"100000": {"p50": 12.345, "p95": 20.0}, "1000000": {"p50": 12.5, "p95": 21.0}},
            "per_tenfold": FIT,
        }
    },
}


def test_percentiles_lie_between_the_calls() -> None:
    assert percentiles([float(number) for number in range(101)]) == {"p50": 50.0, "p95": 95.0}
    assert percentiles([1.0, 2.0]) == {"p50": 1.5, "p95": 1.95}


def test_the_ratio_is_that_of_a_tenfold_history_with_its_spread() -> None:
    blocks = {10**exponent: [[2.0**exponent] * 25, [2.0**exponent] * 25] for exponent in (5, 6, 7)}
    for level in ("p50", "p95"):
        assert per_tenfold(blocks)[level] == {"ratio": 2.0, "low": 2.0, "high": 2.0}
    uneven = per_tenfold({10: [[1.0] * 5, [1.2] * 5], 100: [[1.1] * 5, [1.3] * 5]})["p50"]
    assert uneven["low"] < uneven["ratio"] < uneven["high"]
    assert uneven["ratio"] == pytest.approx((1.1 * 1.3 / 1.2) ** 0.5, abs=1e-3)


def test_one_length_has_no_ratio() -> None:
    assert per_tenfold({100: [[1.0] * 5]}) == {}


def test_the_shortest_history_has_a_whole_answer_to_every_question() -> None:
    start = beginning(warehouse.LEAST)
    assert (END - start) / timedelta(minutes=1) * len(SYMBOLS) * EVENTS_A_MINUTE == warehouse.LEAST
    pasts = [start + (END - start) * past for past in PASTS]
    assert min(pasts) - start >= timedelta(minutes=CANDLES)
    assert max(pasts) + HOUR <= END
    assert start <= COLD_DAY
    assert COLD_DAY + timedelta(days=1) < END, "it is whole, and over"


def test_days_are_cut_at_midnight() -> None:
    cut = list(days(END - timedelta(hours=42), END))
    assert [(first.hour, past.hour, first.date() == END.date()) for first, past in cut] == [
        (23, 0, False),
        (0, 0, False),
        (0, 17, True),
    ]
    assert sum((past - first for first, past in cut), timedelta()) == timedelta(hours=42)


def test_options_choose_the_lengths() -> None:
    usual = warehouse.chosen([])
    assert (usual.events, usual.save) == ([100_000, 1_000_000, 10_000_000], False)
    some = warehouse.chosen(["--events", "1000000", "100000", "--save"])
    assert (some.events, some.save) == ([100_000, 1_000_000], True)


@pytest.mark.parametrize("options", [["--evnts", "1"], ["--events", "many"], ["--events", "1000"], ["drain"]])
def test_what_is_not_known_is_refused(options: list[str]) -> None:
    with pytest.raises(MarketDataError, match="bench warehouse"):
        warehouse.chosen(options)


def test_the_table_has_figures_ratios_and_the_aim(capsys: pytest.CaptureFixture[str]) -> None:
    warehouse.show(RESULT, Console(width=160))
    said = capsys.readouterr().out
    for words in ("12.35, 20.00", "12.50, 21.00", "1.04 x (0.98 to 1.10)", "at most 1.15 x", "3 days, 64 MiB"):
        assert words in said
