"""`/api/v1/events`: what the sources said, event by event, as far back as the archive goes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Query, status
from pydantic import BaseModel

from include.api.problems import MEDIA_TYPE, Problem
from include.api.schemas import Figure, Moment
from include.market.instrument import Instrument
from include.storage.event_reads import EventReads, StoredEvent

MAX_EVENTS = 10_000
LONGEST = timedelta(days=1)
_USUAL = timedelta(hours=1)


class EventOut(BaseModel):
    """`event_time` is a bar's start, a trade's or quote's moment; `revision` grows where a source corrected itself."""

    event_id: str
    source: str
    kind: str
    event_time: Moment
    interval_seconds: int
    open: Figure
    high: Figure
    low: Figure
    close: Figure
    volume: Figure | None
    currency: str
    ingested_at: Moment
    kafka_partition: int | None
    kafka_offset: int | None
    revision: int

    @classmethod
    def of(cls, event: StoredEvent) -> EventOut:
        return cls(**{name: getattr(event, name) for name in cls.model_fields})


class Events(BaseModel):
    """`is_complete` is false where the range has more: ask again from the last event's time on."""

    market: str
    symbol: str
    start: Moment
    end: Moment
    is_complete: bool
    events: list[EventOut]


def create_event_router(
    market: str,
    instruments: Sequence[Instrument],
    reader: EventReads,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> APIRouter:
    """The route over the given reader; `instruments` are those that this stack collects."""
    router = APIRouter(prefix="/api/v1", tags=["market data"])
    symbols = {instrument.symbol for instrument in instruments}
    problems: dict[int | str, dict[str, Any]] = {
        code: {"model": Problem, "content": {MEDIA_TYPE: {}}} for code in (404, 422, 503)
    }

    @router.get("/events/{symbol}", summary="Raw events, oldest first", responses=problems)
    def list_events(
        symbol: str,
        start: Annotated[datetime | None, Query(description="UTC unless it says; an hour before end")] = None,
        end: Annotated[datetime | None, Query(description="events before this; now")] = None,
        limit: Annotated[int, Query(ge=1, le=MAX_EVENTS, description="the oldest are kept")] = 1_000,
        as_of: Annotated[datetime | None, Query(description="what was known then; now")] = None,
    ) -> Events:
        """Each event in its newest revision; at most one day. Days that left the database come from the archive."""
        if symbol not in symbols:
            raise HTTPException(
                status.HTTP_404_NOT_FOUND, f"{symbol} is not collected here; /api/v1/instruments lists what is"
            )
        first, until = _range(start, end, clock())
        found = reader.events(symbol, first, until, limit + 1, _moment(as_of))
        return Events(
            market=market,
            symbol=symbol,
            start=first,
            end=until,
            is_complete=len(found) <= limit,
            events=[EventOut.of(each) for each in found[:limit]],
        )

    return router


def _range(start: datetime | None, end: datetime | None, now: datetime) -> tuple[datetime, datetime]:
    """What is asked for, in UTC. Raises HTTPException (422) where that is nothing, or too much."""
    try:
        first, until = _utc(start), _utc(end)
        if until is None:
            until = now if first is None else min(now, first + LONGEST)
        if first is None:
            first = until - _USUAL
    except OverflowError:
        raise HTTPException(status.HTTP_422_UNPROCESSABLE_CONTENT, "start, end: beyond the calendar") from None
    if first >= until:
        raise HTTPException(status.HTTP_422_UNPROCESSABLE_CONTENT, "start: must be before end, and not in the future")
    if until - first > LONGEST:
        raise HTTPException(status.HTTP_422_UNPROCESSABLE_CONTENT, "end: at most one day after start")
    return first, until


def _moment(as_of: datetime | None) -> datetime | None:
    try:
        return _utc(as_of)
    except OverflowError:
        raise HTTPException(status.HTTP_422_UNPROCESSABLE_CONTENT, "as_of: beyond the calendar") from None


def _utc(moment: datetime | None) -> datetime | None:
    """A time without a zone is meant as UTC."""
    if moment is None or moment.tzinfo is None:
        return moment and moment.replace(tzinfo=UTC)
    return moment.astimezone(UTC)
