"""`/api/v1/events`: what the sources said, event by event, as far back as the archive goes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, NamedTuple

import msgspec
from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel

from include.api import tables
from include.api.paging import Cursor, key_of, next_url
from include.api.problems import declared, not_collected
from include.api.ranges import in_utc, unusable
from include.api.schemas import Figure, Moment, iso
from include.market.instrument import Instrument
from include.storage.event_reads import EventReads, StoredEvent

MAX_EVENTS = 10_000
LONGEST = timedelta(days=1)
_USUAL = timedelta(hours=1)
#: So many events may come to the moment where a page ended before the next page is asked for.
_LATE = 100


class _Place(NamedTuple):
    """The last event of a page, and how many of its moment were shown by then."""

    event_time: Annotated[datetime, msgspec.Meta(tz=True)]
    event_id: str
    seen: Annotated[int, msgspec.Meta(ge=0, le=MAX_EVENTS)]


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
    """`next` is the address of the page of newer ones; where it is null the answer `is_complete`."""

    market: str
    symbol: str
    start: Moment
    end: Moment
    is_complete: bool
    next: str | None
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

    @router.get(
        "/events/{symbol}",
        summary="Raw events, oldest first",
        response_model=Events,
        responses={**declared(404, 422, 503), 200: tables.ANSWERS},
    )
    def list_events(
        request: Request,
        symbol: str,
        start: Annotated[datetime | None, Query(description="UTC unless it says; an hour before end")] = None,
        end: Annotated[datetime | None, Query(description="events before this; now")] = None,
        limit: Annotated[int, Query(ge=1, le=MAX_EVENTS, description="the oldest are kept")] = 1_000,
        format: tables.Format = "json",
        cursor: Cursor = None,
        as_of: Annotated[datetime | None, Query(description="what was known then; now")] = None,
    ) -> Response:
        """Each event in its newest revision; at most one day. Days that left the database come from the archive."""
        if symbol not in symbols:
            raise not_collected(symbol)
        first, until = _range(start, end, clock())
        place = _place(cursor, first)
        # One more than asked for tells whether there is a next page.
        rows = place.seen + _LATE * bool(cursor) + limit + 1
        found = _after(place, reader.events(symbol, place.event_time, until, rows, in_utc(as_of, "as_of")))
        page = found[:limit]
        following = None
        if len(found) > limit:
            last = page[-1]
            seen = sum(each.event_time == last.event_time for each in page)
            seen += place.seen if place.event_time == last.event_time else 0
            key = (last.event_time, last.event_id, seen)
            following = next_url(request, *key, start=iso(first), end=iso(until))
        return tables.served(
            format,
            tables.Table(f"{symbol}-events", market, tables.EVENTS, page),
            lambda: Events(
                market=market,
                symbol=symbol,
                start=first,
                end=until,
                is_complete=following is None,
                next=following,
                events=[EventOut.of(each) for each in page],
            ),
            following,
        )

    return router


def _range(start: datetime | None, end: datetime | None, now: datetime) -> tuple[datetime, datetime]:
    """What is asked for, in UTC. Raises HTTPException (422) where that is nothing, or too much."""
    first, until = in_utc(start, "start"), in_utc(end, "end")
    try:
        if until is None:
            until = now if first is None else min(now, first + LONGEST)
        if first is None:
            first = until - _USUAL
    except OverflowError:
        raise unusable("start, end", "beyond the calendar") from None
    if first >= until:
        raise unusable("start", "must be before end, and not in the future")
    if until - first > LONGEST:
        raise unusable("end", "at most one day after start")
    return first, until


def _after(place: _Place, found: Sequence[StoredEvent]) -> Sequence[StoredEvent]:
    """Without what was shown: up to the place's own event, for a late one may have come before it since. By looking for
    it, since the order of ids within a moment is the database's."""
    last = (place.event_time, place.event_id)
    keys = [(each.event_time, each.event_id) for each in found[: place.seen + _LATE]]
    return found[keys.index(last) + 1 if last in keys else place.seen :]


def _place(cursor: str | None, first: datetime) -> _Place:
    """Where to go on. Raises HTTPException (422) for a cursor of before the range."""
    if cursor is None:
        return _Place(first, "", 0)
    place = key_of(cursor, _Place)
    moment = in_utc(place.event_time, "cursor")
    if moment < first:
        raise unusable("cursor", "of another range; take it with the start and end that it came with")
    return place._replace(event_time=moment)
