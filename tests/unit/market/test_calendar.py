"""New York's sessions, against days whose hours are known."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest

from include.market.calendar import (
    FIRST_DAY,
    LAST_DAY,
    is_open,
    midnight_us,
    new_york_day,
    next_session,
    previous_session,
    session_close_us,
    session_of,
)


def at(stamp: str) -> int:
    """ISO 8601 in UTC to epoch microseconds."""
    return int(datetime.fromisoformat(stamp).replace(tzinfo=UTC).timestamp()) * 1_000_000


@pytest.mark.parametrize(
    ("day", "opens", "closes"),
    [
        (date(2026, 1, 15), "2026-01-15 14:30", "2026-01-15 21:00"),
        (date(2026, 7, 15), "2026-07-15 13:30", "2026-07-15 20:00"),
        # The last day before the clocks go forward and the first one after, and so in autumn.
        (date(2026, 3, 6), "2026-03-06 14:30", "2026-03-06 21:00"),
        (date(2026, 3, 9), "2026-03-09 13:30", "2026-03-09 20:00"),
        (date(2026, 10, 30), "2026-10-30 13:30", "2026-10-30 20:00"),
        (date(2026, 11, 2), "2026-11-02 14:30", "2026-11-02 21:00"),
        # Half days: after Thanksgiving, and Christmas Eve.
        (date(2026, 11, 27), "2026-11-27 14:30", "2026-11-27 18:00"),
        (date(2026, 12, 24), "2026-12-24 14:30", "2026-12-24 18:00"),
    ],
)
def test_a_session_has_its_hours(day: date, opens: str, closes: str) -> None:
    assert session_of(day) == (day, at(opens), at(closes))
    assert session_close_us(day) == at(closes)
    moments = (at(opens) - 1, at(opens), at(closes) - 1, at(closes))
    assert [is_open("stock", moment) for moment in moments] == [False, True, True, False]


@pytest.mark.parametrize(
    "day",
    [
        date(2026, 11, 21),  # Saturday
        date(2026, 11, 26),  # Thanksgiving
        date(2026, 12, 25),
        date(2026, 7, 3),  # Independence Day falls on a Saturday
        date(2025, 1, 9),  # a president's funeral
        date(1985, 1, 2),  # before what is known
        date(2051, 1, 3),
    ],
)
def test_a_day_without_a_session_has_none(day: date) -> None:
    assert session_of(day) is None
    assert session_close_us(day) is None
    assert not is_open("stock", midnight_us(day) + 12 * 3600 * 1_000_000)


def test_crypto_is_always_open() -> None:
    assert all(is_open("crypto", at(stamp)) for stamp in ("2026-11-21 03:00", "2026-12-25 12:00", "1985-01-02 00:00"))


def test_sessions_before_and_after_a_moment_jump_over_holidays() -> None:
    thanksgiving = at("2026-11-26 15:00")
    assert next_session(thanksgiving).day == date(2026, 11, 27)
    assert previous_session(thanksgiving).day == date(2026, 11, 25)
    opens, closes = at("2026-11-27 14:30"), at("2026-11-27 18:00")
    assert [next_session(moment).day.day for moment in (opens - 1, opens)] == [27, 30]
    assert [previous_session(moment).day.day for moment in (closes - 1, closes)] == [25, 27]


def test_what_lies_outside_the_known_sessions_is_said() -> None:
    with pytest.raises(ValueError, match=f"after {LAST_DAY}"):
        next_session(midnight_us(LAST_DAY) + 24 * 3600 * 1_000_000)
    with pytest.raises(ValueError, match=f"before {FIRST_DAY}"):
        previous_session(midnight_us(FIRST_DAY))


def test_a_new_york_day_has_23_24_or_25_hours() -> None:
    def hours(day: date) -> int:
        return (midnight_us(date.fromordinal(day.toordinal() + 1)) - midnight_us(day)) // 3_600_000_000

    assert [hours(day) for day in (date(2026, 3, 8), date(2026, 7, 1), date(2026, 11, 1))] == [23, 24, 25]
    assert midnight_us(date(2026, 1, 2)) == at("2026-01-02 05:00")
    assert new_york_day(at("2026-01-02 05:00")) == date(2026, 1, 2)
    assert new_york_day(at("2026-01-02 05:00") - 1) == date(2026, 1, 1)
