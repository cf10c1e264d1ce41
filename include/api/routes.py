"""`/api/v1`: what is stored, as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import redis
from fastapi import APIRouter, HTTPException, Query, Response, status

from include.api.problems import MEDIA_TYPE, Problem
from include.api.schemas import (
    CandleOut,
    Candles,
    Health,
    InstrumentOut,
    Instruments,
    PriceOut,
    Prices,
)
from include.market.instrument import Instrument
from include.market.timeframe import Timeframe
from include.storage.archive_catalogue import DayIsCold
from include.storage.market_reads import CandleReads, DatabaseUnavailable, PriceReads, latest_prices

MAX_CANDLES = 5000


def _declared(*codes: int) -> dict[int | str, dict[str, Any]]:
    return {code: {"model": Problem, "content": {MEDIA_TYPE: {}}} for code in codes}


def create_router(market: str, instruments: Sequence[Instrument], reader: CandleReads, cache: PriceReads) -> APIRouter:
    """The routes over the given stores; `instruments` are those that this stack collects."""
    router = APIRouter(prefix="/api/v1", tags=["market data"])
    symbols = [instrument.symbol for instrument in instruments]

    @router.get("/health", summary="Whether the stores answer", responses={503: {"model": Health}})
    def health(response: Response) -> Health:
        """200 while every store answers, else 503 with the same fields."""
        found = read_health(market, reader, cache)
        if found.status != "ok":
            response.status_code = status.HTTP_503_SERVICE_UNAVAILABLE
        return found

    @router.get("/instruments", summary="What this stack collects")
    def list_instruments() -> Instruments:
        return Instruments(market=market, instruments=[InstrumentOut.of(each) for each in instruments])

    @router.get("/prices", summary="The newest price of every instrument", responses=_declared(503))
    def list_prices() -> Prices:
        """An instrument that has no price yet is left out."""
        found = latest_prices(symbols, cache, reader)
        return Prices(market=market, prices=[PriceOut.of(found[symbol]) for symbol in symbols if symbol in found])

    @router.get("/candles/{symbol}", summary="Candles, oldest first", responses=_declared(404, 422, 503))
    def list_candles(
        symbol: str,
        interval: Timeframe = "1m",
        start: Annotated[datetime | None, Query(description="first window start, UTC unless it says")] = None,
        end: Annotated[datetime | None, Query(description="windows start before this")] = None,
        limit: Annotated[int, Query(ge=1, le=MAX_CANDLES, description="the newest are kept")] = 500,
        format: Annotated[Literal["json"], Query()] = "json",
        as_of: Annotated[datetime | None, Query(description="as they were known then; now")] = None,
    ) -> Candles:
        """Stored are 1m and 5m; 15m, 1h and 1d are rolled up from 5m, days by UTC.

        With `as_of` they are counted from the raw events that had come by then, revisions and quarantine as then.
        """
        if symbol not in symbols:
            raise HTTPException(
                status.HTTP_404_NOT_FOUND,
                f"{symbol} is not collected here; /api/v1/instruments lists what is",
            )
        first, until, moment = _utc(start), _utc(end), _utc(as_of)
        if first is not None and until is not None and first >= until:
            raise HTTPException(status.HTTP_422_UNPROCESSABLE_CONTENT, "start: must be before end")
        try:
            found = reader.candles(symbol, interval, limit, before=until, start=first, as_of=moment)
        except DayIsCold as cold:
            raise HTTPException(status.HTTP_422_UNPROCESSABLE_CONTENT, f"as_of: {cold}") from cold
        return Candles(market=market, symbol=symbol, interval=interval, candles=[CandleOut.of(each) for each in found])

    @router.get("/{path:path}", include_in_schema=False)
    def unknown(path: str) -> None:
        raise HTTPException(status.HTTP_404_NOT_FOUND, f"no such resource: {path}; see /api/docs")

    return router


def read_health(market: str, reader: CandleReads, cache: PriceReads) -> Health:
    """Asks both stores now; an answer, not an exception, when one is down."""
    last_candle_at = None
    database, cached = True, True
    try:
        last_candle_at = reader.last_candle_at()
    except DatabaseUnavailable:
        database = False
    try:
        cache.ping()
    except redis.RedisError:
        cached = False
    return Health(
        status="ok" if database and cached else "unavailable",
        market=market,
        database="ok" if database else "down",
        redis="ok" if cached else "down",
        last_candle_at=last_candle_at,
    )


def _utc(moment: datetime | None) -> datetime | None:
    """A time without a zone is meant as UTC."""
    return moment.replace(tzinfo=UTC) if moment is not None and moment.tzinfo is None else moment
