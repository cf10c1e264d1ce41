"""`/api/v1/anomalies`: moves and volumes beyond three sigma, of all symbols or some."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, NamedTuple

import msgspec
from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel

from include.api import tables
from include.api.paging import Cursor, Limit, key_of, next_url
from include.api.problems import declared, not_collected
from include.api.ranges import WindowEnd, WindowStart, bounds, in_utc
from include.api.schemas import Moment
from include.market.candle import Interval
from include.market.instrument import Instrument
from include.storage.anomaly_reads import Anomaly, AnomalyFilter, AnomalyKey, AnomalyReads, Metric, Severity

# What a cursor may hold is bound to a statement: no text but words of ours.
_Symbol = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9.-]{1,40}$")]


class _Place(NamedTuple):
    window_start: Annotated[datetime, msgspec.Meta(tz=True)]
    symbol: _Symbol
    interval: Interval
    metric: Metric


class AnomalyOut(BaseModel):
    """`value` is the log return (`price`) or ln(1 + volume) (`volume`); z_score = (value - mean) / stddev of the 60
    values before it. Numbers, for all of these are floating point where they are made."""

    symbol: str
    interval: Interval
    window_start: Moment
    metric: Metric
    value: float
    mean: float
    stddev: float
    z_score: float
    severity: Severity
    detected_at: Moment

    @classmethod
    def of(cls, row: Anomaly) -> AnomalyOut:
        return cls(**{name: getattr(row, name) for name in cls.model_fields})


class Anomalies(BaseModel):
    """`next` is the address of the page of older ones, null on the last."""

    market: str
    next: str | None
    anomalies: list[AnomalyOut]


def create_anomaly_router(market: str, instruments: Sequence[Instrument], reader: AnomalyReads) -> APIRouter:
    """The route over the given reader; `instruments` are those that this stack collects."""
    router = APIRouter(prefix="/api/v1", tags=["market data"])
    symbols = {instrument.symbol for instrument in instruments}

    @router.get(
        "/anomalies",
        summary="Anomalies, newest first",
        response_model=Anomalies,
        responses={**declared(404, 422, 503), 200: tables.ANSWERS},
    )
    def list_anomalies(
        request: Request,
        symbol: Annotated[str | None, Query(description="only this one's; all")] = None,
        interval: Annotated[Interval | None, Query(description="of the candle; both")] = None,
        metric: Annotated[Metric | None, Query(description="what stood out; both")] = None,
        severity: Annotated[Severity | None, Query(description="|z| up to 4, up to 6, above; all")] = None,
        start: WindowStart = None,
        end: WindowEnd = None,
        limit: Limit = 500,
        format: tables.Format = "json",
        cursor: Cursor = None,
    ) -> Response:
        """|z| > 3 against the 60 values before it. Of one moment they are in the order of symbol, interval, metric."""
        if symbol is not None and symbol not in symbols:
            raise not_collected(symbol)
        first, until = bounds(start, end)
        wanted = AnomalyFilter(symbol, interval, metric, severity, first, until)
        found = reader.anomalies(wanted, limit + 1, _place(cursor))
        page = found[:limit]
        following = next_url(request, *_key(page[-1])) if len(found) > limit else None
        return tables.served(
            format,
            tables.Table(f"{symbol}-anomalies" if symbol else "anomalies", market, tables.ANOMALIES, page),
            lambda: Anomalies(market=market, next=following, anomalies=[AnomalyOut.of(each) for each in page]),
            following,
        )

    return router


def _key(row: Anomaly) -> AnomalyKey:
    return AnomalyKey(row.window_start, row.symbol, row.interval, row.metric)


def _place(cursor: str | None) -> AnomalyKey | None:
    if cursor is None:
        return None
    place = key_of(cursor, _Place)
    return AnomalyKey(in_utc(place.window_start, "cursor"), place.symbol, place.interval, place.metric)
