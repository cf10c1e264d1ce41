"""Which symbols and days a backfill is of."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest

from include.errors import SettingsError
from include.operations.backfill import PARTS_AT_ONCE, DayOf, by_symbol, chosen, days, parts, refuse_unknown, table

NOW = datetime(2026, 3, 4, 14, 7, tzinfo=UTC)
MONDAY, TUESDAY, TODAY = date(2026, 3, 2), date(2026, 3, 3), date(2026, 3, 4)
MIDNIGHT = datetime(2026, 3, 3, tzinfo=UTC)


@pytest.mark.parametrize(
    ("first", "last", "interval", "expected"),
    [
        (None, None, (MIDNIGHT, MIDNIGHT + timedelta(days=1)), [TUESDAY]),
        (None, None, (MIDNIGHT - timedelta(days=1), MIDNIGHT + timedelta(days=1)), [MONDAY, TUESDAY]),
        (None, None, None, [TUESDAY]),
        (MONDAY, TUESDAY, None, [MONDAY, TUESDAY]),
        (MONDAY, None, (MIDNIGHT, MIDNIGHT + timedelta(days=1)), [MONDAY, TUESDAY, TODAY]),
        (None, MONDAY, None, [MONDAY]),
        (TODAY, date(2026, 3, 9), None, [TODAY]),
    ],
)
def test_a_run_is_of_the_days_of_its_form_or_of_its_interval(
    first: date | None, last: date | None, interval: tuple[datetime, datetime] | None, expected: list[date]
) -> None:
    assert days(first, last, interval, NOW) == expected


@pytest.mark.parametrize(
    ("first", "last", "words"), [(TUESDAY, MONDAY, "2026-03-02, is before"), (date(2026, 3, 5), None, "lies ahead")]
)
def test_a_form_that_makes_no_sense_is_refused(first: date, last: date | None, words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        days(first, last, None, NOW)


def test_parts_are_the_open_days_of_each_symbol() -> None:
    assert parts(["A", "B"], [MONDAY, TUESDAY], [TUESDAY]) == [DayOf("A", TUESDAY), DayOf("B", TUESDAY)]
    assert parts(["A"], [MONDAY], None) == [DayOf("A", MONDAY)]
    assert parts(["A"], [MONDAY], []) == []
    many = [MONDAY + timedelta(days=number) for number in range(PARTS_AT_ONCE)]
    assert len(parts(["A"], many, None)) == PARTS_AT_ONCE
    with pytest.raises(SettingsError, match="2000 symbols and days .* airflow backfill create"):
        parts(["A", "B"], many, None)


def test_symbols_are_those_named_or_all() -> None:
    assert chosen([], ["A", "B"]) == ["A", "B"]
    assert chosen(["B", "C"], ["A", "B"]) == ["B"]
    refuse_unknown(["B"], ["A", "B"])
    with pytest.raises(SettingsError, match="C is not collected here; these are: A, B"):
        refuse_unknown(["C"], ["B", "A"])


def test_counts_add_up_by_symbol_and_are_a_table() -> None:
    row = {"fetched": 1440, "new": 2, "changed": 0, "unchanged": 1438, "left": 0, "refused": 0}
    row |= {"missing_before": 2, "missing_after": 0, "calls": 1}
    counts = by_symbol([{"symbol": "B", **row}, {"symbol": "A", **row}, {"symbol": "B", **row}])
    assert list(counts) == ["A", "B"]
    assert counts["B"] == {name: 2 * count for name, count in row.items()}
    lines = table(counts).splitlines()
    assert lines[0].split()[:3] == ["symbol", "fetched", "new"]
    assert lines[2].split() == ["B", "2,880", "4", "0", "2,876", "0", "0", "4", "0", "2"]
