"""`/api/v1`: instruments, prices and candles as they are stored."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, HTTPException, Query, Request, Response, status

from include.api import tables
from include.api.paging import Cursor, Limit, next_url, older_than
from include.api.problems import declared, not_collected
from include.api.ranges import WindowEnd, WindowStart, bounds, in_utc, unusable
from include.api.schemas import CandleOut, Candles, InstrumentOut, Instruments, PriceOut, Prices
from include.market.instrument import Instrument
from include.market.timeframe import BASE, Timeframe
from include.storage.archive_catalogue import DayIsCold
from include.storage.market_reads import CandleReads, PriceReads, latest_prices


def create_router(market: str, instruments: Sequence[Instrument], reader: CandleReads, cache: PriceReads) -> APIRouter:
    """The routes over the given stores; `instruments` are those that this stack collects."""
    router = APIRouter(prefix="/api/v1", tags=["market data"])
    symbols = [instrument.symbol for instrument in instruments]

    @router.get("/instruments", summary="What this stack collects")
    def list_instruments() -> Instruments:
        return Instruments(market=market, instruments=[InstrumentOut.of(each) for each in instruments])

    @router.get("/prices", summary="The newest price of every instrument", responses=declared(503))
    def list_prices() -> Prices:
        """An instrument that has no price yet is left out."""
        found = latest_prices(symbols, cache, reader)
        return Prices(market=market, prices=[PriceOut.of(found[symbol]) for symbol in symbols if symbol in found])

    @router.get(
        "/candles/{symbol}",
        summary="Candles, oldest first",
        response_model=Candles,
        responses={**declared(404, 422, 503), 200: tables.ANSWERS},
    )
    def list_candles(
        request: Request,
        symbol: str,
        interval: Timeframe = "1m",
        start: WindowStart = None,
        end: WindowEnd = None,
        limit: Limit = 500,
        format: tables.Format = "json",
        cursor: Cursor = None,
        as_of: Annotated[datetime | None, Query(description="as they were known then; now")] = None,
    ) -> Response:
        """The newest `limit` of the range; `next` leads to older ones.

        Stored are 1m and 5m; 15m, 1h and 1d are rolled up from 5m, days by UTC. With `as_of` they are counted from the
        raw events that had come by then, revisions and quarantine as then.
        """
        if symbol not in symbols:
            raise not_collected(symbol)
        first, until = bounds(start, end)
        known = in_utc(as_of, "as_of")
        try:
            # One more than asked for tells whether there is a next page.
            found = reader.candles(symbol, interval, limit + 1, older_than(cursor, until), first, known)
            page = found[-limit:]
            is_cut = len(found) > limit
            # What is rolled up ends early where too many stored candles would have to be read at once.
            if page and not is_cut and BASE[interval] != interval:
                is_cut = bool(reader.candles(symbol, interval, 1, page[0].window_start, first, known))
        except DayIsCold as cold:
            raise unusable("as_of", str(cold)) from cold
        following = next_url(request, page[0].window_start) if is_cut else None
        return tables.served(
            format,
            tables.Table(f"{symbol}-{interval}", market, tables.CANDLES, page),
            lambda: Candles(
                market=market,
                symbol=symbol,
                interval=interval,
                next=following,
                candles=[CandleOut.of(each) for each in page],
            ),
            following,
        )

    @router.get("/{path:path}", include_in_schema=False)
    def unknown(path: str) -> None:
        raise HTTPException(status.HTTP_404_NOT_FOUND, f"no such resource: {path[:100]}; see /api/docs")

    return router
