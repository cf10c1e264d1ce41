"""The ledger of gaps tells of each missing minute once, whatever came and went between two looks."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from include.market.gaps import MINUTE, Gap, Span, changes, spans_of, within, without

#: Ten minutes before midnight: holes cross it.
START = datetime(2026, 3, 2, 23, 50, tzinfo=UTC)
LENGTH = 30
WINDOW = Span(START, START + LENGTH * MINUTE)
minutes = st.sets(st.integers(0, LENGTH - 1))
states = st.sampled_from(["open", "repairing", "unfillable"])


def at(number: int) -> datetime:
    return START + number * MINUTE


def spans(numbers: set[int]) -> list[Span]:
    return spans_of(at(number) for number in sorted(numbers))


def numbers(found: list[Span]) -> list[int]:
    return [(minute - START) // MINUTE for span in found for minute in span.each]


@given(minutes)
def test_spans_have_each_minute_once_and_none_crosses_midnight(missing: set[int]) -> None:
    found = spans(missing)
    assert numbers(found) == sorted(missing)
    for span in found:
        assert span.start.date() == (span.end - MINUTE).date()
    for one, other in pairwise(found):
        assert one.end < other.start or other.start == datetime(2026, 3, 3, tzinfo=UTC)


@given(minutes, minutes)
def test_without_and_within_are_a_difference_and_a_cut(ones: set[int], others: set[int]) -> None:
    assert numbers(without(spans(ones), spans(others))) == sorted(ones - others)
    cut = [part for other in spans(others) for part in within(spans(ones), other)]
    assert sorted(numbers(cut)) == sorted(ones & others)


@given(minutes, minutes, st.lists(states, min_size=LENGTH, max_size=LENGTH))
def test_after_a_look_the_rows_are_the_missing_minutes_each_once(
    before: set[int], now: set[int], chosen: list[str]
) -> None:
    known = [Gap(number, span, chosen[number]) for number, span in enumerate(spans(before))]  # type: ignore[arg-type]
    found = changes(spans(now), known, WINDOW)
    rows = {gap.id: [gap.span] for gap in known}
    rows |= dict(found.shrunk)
    for id_, end in found.extended:
        # What grows was open, and keeps its end.
        assert known[id_].state == "open"
        (*_, last) = rows[id_]
        rows[id_].append(Span(known[id_].span.end, end))
        assert last.end <= known[id_].span.end
    left = [span for listed in rows.values() for span in listed] + found.opened
    assert sorted(numbers(left)) == sorted(now)
    filled = [span for _, there in found.filled for span in there]
    assert sorted(numbers(filled)) == sorted(before - now)


def test_a_hole_that_goes_on_is_one_row_and_a_new_day_another() -> None:
    known = [Gap(7, Span(at(0), at(5)), "open")]
    grown = changes(spans(set(range(14))), known, WINDOW)
    assert grown.extended == [(7, at(10))]
    assert grown.opened == [Span(at(10), at(14))]
    given_up = changes(spans(set(range(8))), [Gap(7, Span(at(0), at(5)), "unfillable")], WINDOW)
    assert (given_up.extended, given_up.opened) == ([], [Span(at(5), at(8))])


def test_beyond_the_window_nothing_is_said() -> None:
    known = [Gap(7, Span(START - timedelta(minutes=9), at(3)), "open")]
    found = changes([], known, WINDOW)
    assert found.filled == [(7, [Span(at(0), at(3))])]
    assert found.shrunk == [(7, [Span(START - timedelta(minutes=9), at(0))])]


def test_before_the_history_began_nothing_is_opened_and_nothing_is_filled() -> None:
    known = [Gap(7, Span(at(0), at(3)), "unfillable")]
    found = changes(spans(set(range(8))), known, WINDOW, expected_from=at(5))
    assert (found.filled, found.opened) == ([], [Span(at(5), at(8))])
