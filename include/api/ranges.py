"""Moments and ranges as a question gives them: in UTC, and refused by the parameter's name."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, overload

from fastapi import HTTPException, Query, status

from include.market import moments

WindowStart = Annotated[datetime | None, Query(description="first window start, UTC unless it says")]
WindowEnd = Annotated[datetime | None, Query(description="windows start before this")]


def unusable(name: str, reason: str) -> HTTPException:
    """422 that names the parameter."""
    return HTTPException(status.HTTP_422_UNPROCESSABLE_CONTENT, f"{name}: {reason}")


@overload
def in_utc(moment: datetime, name: str) -> datetime: ...
@overload
def in_utc(moment: datetime | None, name: str) -> datetime | None: ...
def in_utc(moment: datetime | None, name: str) -> datetime | None:
    """A time without a zone is meant as UTC. Raises HTTPException (422) where the calendar has no such day in UTC."""
    try:
        return moment and moments.in_utc(moment)
    except OverflowError:
        raise unusable(name, "beyond the calendar") from None


def bounds(start: datetime | None, end: datetime | None) -> tuple[datetime | None, datetime | None]:
    """Both in UTC, None where open. Raises HTTPException (422) where nothing can lie between them."""
    first, until = in_utc(start, "start"), in_utc(end, "end")
    if first is not None and until is not None and first >= until:
        raise unusable("start", "must be before end")
    return first, until
