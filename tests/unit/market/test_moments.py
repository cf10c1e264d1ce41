"""Times there and back, and where a day begins."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone

from hypothesis import given
from hypothesis import strategies as st

from include.market.moments import day_bounds, micros, moment


@given(st.integers(-(10**15), 4 * 10**15))
def test_there_and_back_loses_nothing(at_us: int) -> None:
    assert micros(moment(at_us)) == at_us
    assert moment(at_us).tzinfo is UTC


def test_a_time_of_another_zone_is_the_same_moment() -> None:
    here = datetime(2026, 3, 2, 9, 30, tzinfo=timezone(timedelta(hours=-5)))
    assert micros(here) == micros(datetime(2026, 3, 2, 14, 30, tzinfo=UTC)) == 1_772_461_800_000_000


def test_a_day_is_that_of_utc() -> None:
    assert day_bounds(date(2026, 2, 28)) == (datetime(2026, 2, 28, tzinfo=UTC), datetime(2026, 3, 1, tzinfo=UTC))
