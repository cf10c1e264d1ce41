"""What HTTP answers say about time, and how their figures are read: the same for every source."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from email.utils import parsedate_to_datetime

from include.market.event import MICROSECONDS

#: 1990 to 2200: no source of ours has minutes from before, and what lies after is not a time.
_OLDEST_US = 631_152_000 * MICROSECONDS
_NEWEST_US = 7_258_118_400 * MICROSECONDS
#: Beyond this no price or volume is meant, and `1E+999999999` written out would fill the memory.
_MAX_DIGITS = 20


def epoch_us(value: int) -> int:
    """A source's epoch time in s, ms, us or ns to microseconds; the unit shows in the magnitude.

    Raises ValueError for a time before 1990 or after 2200.
    """
    if value < 10**11:
        microseconds = value * MICROSECONDS
    elif value < 10**14:
        microseconds = value * 1_000
    elif value < 10**17:
        microseconds = value
    else:
        microseconds = value // 1_000
    if not _OLDEST_US <= microseconds < _NEWEST_US:
        raise ValueError(f"time {value} does not lie between 1990 and 2200")
    return microseconds


def exact(figure: str) -> Decimal:
    """A figure that came as a string. Raises ValueError unless it is a finite number."""
    try:
        value = Decimal(figure)
    except InvalidOperation:
        raise ValueError(f"{figure!r} is not a number") from None
    if not value.is_finite():
        raise ValueError(f"{figure!r} is not finite")
    if abs(value.adjusted()) >= _MAX_DIGITS or len(figure) > 2 * _MAX_DIGITS:
        raise ValueError(f"{figure[:40]!r} is out of range")
    return value


def retry_at(retry_after: str | None, now_us: int) -> float | None:
    """A `Retry-After` header, seconds or a date, to UTC epoch seconds; None if it says nothing."""
    if retry_after is None:
        return None
    if retry_after.strip().isdecimal():
        return now_us / MICROSECONDS + int(retry_after)
    stated = _date(retry_after)
    return None if stated is None else float(stated)


def server_time_us(date: str | None, now_us: int) -> int:
    """The server's clock by its `Date` header, or ours where it has none.

    The header has whole seconds, cut off: who asks whether a bar is closed errs to the safe side.
    """
    stated = None if date is None else _date(date)
    return now_us if stated is None else stated * MICROSECONDS


def _date(header: str) -> int | None:
    try:
        return int(parsedate_to_datetime(header).timestamp())
    except ValueError:
        return None
