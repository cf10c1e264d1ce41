from __future__ import annotations

import numpy as np
import pytest

from benchmarks.stream_parts.latency import verdict
from benchmarks.stream_parts.schedule import Schedule, curve_ms, summary_ms, waits_us
from include.errors import MarketDataError

MS = 1_000


def test_events_are_due_by_the_clock_and_in_turn() -> None:
    schedule = Schedule(start_us=1_000_000, rate=1_000, count=10, symbols=4)
    assert [schedule.due_us(number) for number in (0, 1, 9)] == [1_000_000, 1_001_000, 1_009_000]
    assert schedule.of_symbol(1).tolist() == [schedule.due_us(number) for number in (1, 5, 9)]


def test_due_times_are_the_same_whole_numbers_for_sender_and_reader() -> None:
    schedule = Schedule(start_us=7, rate=30_011, count=1_000, symbols=3)
    together = sorted(time for symbol in range(3) for time in schedule.of_symbol(symbol).tolist())
    assert together == [schedule.due_us(number) for number in range(1_000)]


def test_a_stall_counts_for_every_event_that_it_held_up() -> None:
    due = np.arange(0, 10) * 100 * MS
    # Nothing is seen for a second; then all at once.
    waits, unseen = waits_us(due, [(1_000 * MS, 900 * MS)])
    assert unseen == 0
    assert waits.tolist() == [(1_000 - at) * MS for at in range(0, 1_000, 100)]


def test_an_event_is_seen_with_the_first_answer_that_is_not_older() -> None:
    waits, unseen = waits_us(np.array([10, 20, 30, 40]), [(15, 10), (37, 30)])
    assert (waits.tolist(), unseen) == ([5, 17, 7], 1)


def test_a_reader_that_saw_nothing_saw_nothing() -> None:
    waits, unseen = waits_us(np.array([10, 20]), [])
    assert (len(waits), unseen) == (0, 2)
    with pytest.raises(MarketDataError, match="no event"):
        summary_ms(waits)


def test_percentiles_are_of_milliseconds() -> None:
    waits = np.arange(1, 1_001) * MS
    assert summary_ms(waits) == {
        "count": 1_000,
        "p50": 500.5,
        "p90": 900.1,
        "p99": 990.0,
        "p99.9": 999.0,
        "max": 1000.0,
    }
    curve = curve_ms(waits, points=5)
    assert curve[0][0] == 0
    assert curve == sorted(curve)


def test_a_backlog_that_stays_is_sustained_and_one_that_grows_is_not() -> None:
    steady = [(at / 4, 900 + at % 4 * 100) for at in range(80)]
    growing = [(at / 4, at * 100) for at in range(80)]
    assert verdict(steady, 1_000)["sustained"]
    found = verdict(growing, 1_000)
    assert (found["growth"], found["sustained"]) == (0.4, False)
    # It stays, but far behind.
    assert not verdict([(at / 4, 9_000) for at in range(80)], 1_000)["sustained"]
