"""Times as events have them, UTC epoch microseconds, and as PostgreSQL has them; and the UTC day. Pure."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def moment(micros_since_epoch: int) -> datetime:
    """To the last microsecond, which no float would keep."""
    return _EPOCH + timedelta(microseconds=micros_since_epoch)


def micros(at: datetime) -> int:
    """The inverse of `moment`, of a time in any zone."""
    return (at - _EPOCH) // _MICROSECOND


def in_utc(at: datetime) -> datetime:
    """The same moment in UTC; one without a zone is meant so. Raises OverflowError beyond the calendar."""
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)


def day_bounds(day: date) -> tuple[datetime, datetime]:
    """The UTC day's first moment, and that of the next."""
    start = datetime.combine(day, time(), UTC)
    return start, start + timedelta(days=1)
