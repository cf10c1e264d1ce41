"""When markets trade: New York's sessions by exchange_calendars (XNYS), crypto round the clock. Pure.

Days are dates in New York; times are UTC epoch microseconds. The rules for holidays and half days stand
in the package, so a new one needs a new version of it.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from datetime import date, datetime
from functools import cache
from typing import NamedTuple
from zoneinfo import ZoneInfo

from include.market.event import MICROSECONDS, AssetClass

NEW_YORK = ZoneInfo("America/New_York")
#: The sessions that are known: no source of ours has older figures, and none has to look further ahead.
FIRST_DAY, LAST_DAY = date(2010, 1, 1), date(2040, 12, 31)


class Session(NamedTuple):
    """Regular hours of one day, [open_us, close_us)."""

    day: date
    open_us: int
    close_us: int


def is_open(asset_class: AssetClass, at_us: int) -> bool:
    """Whether it is traded at this moment, in regular hours."""
    if asset_class == "crypto":
        return True
    session = session_of(new_york_day(at_us))
    return session is not None and session.open_us <= at_us < session.close_us


def session_of(day: date) -> Session | None:
    """The day's session; None on weekends and holidays, and outside FIRST_DAY to LAST_DAY."""
    place = bisect_left(_days(), day)
    return _sessions()[place] if place < len(_days()) and _days()[place] == day else None


def session_close_us(day: date) -> int | None:
    """None where there is no session that day; on half days it is 13:00 in New York."""
    session = session_of(day)
    return None if session is None else session.close_us


def sessions() -> tuple[Session, ...]:
    """All that are known, in order."""
    return tuple(_sessions())


def next_session(at_us: int) -> Session:
    """The first session that opens after this moment. Raises ValueError after LAST_DAY."""
    place = bisect_right(_sessions(), at_us, key=lambda session: session.open_us)
    if place == len(_sessions()):
        raise ValueError(f"no session is known after {LAST_DAY}")
    return _sessions()[place]


def previous_session(at_us: int) -> Session:
    """The last session that closed at or before this moment. Raises ValueError before FIRST_DAY."""
    place = bisect_right(_sessions(), at_us, key=lambda session: session.close_us)
    if place == 0:
        raise ValueError(f"no session is known before {FIRST_DAY}")
    return _sessions()[place - 1]


def new_york_day(at_us: int) -> date:
    """The date in New York."""
    return datetime.fromtimestamp(at_us // MICROSECONDS, NEW_YORK).date()


def midnight_us(day: date) -> int:
    """The day's first moment in New York."""
    return int(datetime(day.year, day.month, day.day, tzinfo=NEW_YORK).timestamp()) * MICROSECONDS


@cache
def _sessions() -> list[Session]:
    """All of them, in order."""
    # It brings pandas and takes seconds: only who asks for stocks' hours pays for it.
    from exchange_calendars import get_calendar  # type: ignore[import-untyped]

    schedule = get_calendar("XNYS", start=FIRST_DAY.isoformat(), end=LAST_DAY.isoformat()).schedule
    columns = (schedule[name].astype("datetime64[us, UTC]").astype("int64").tolist() for name in ("open", "close"))
    return [Session(day, *hours) for day, *hours in zip(schedule.index.date, *columns, strict=True)]


@cache
def _days() -> list[date]:
    return [session.day for session in _sessions()]
