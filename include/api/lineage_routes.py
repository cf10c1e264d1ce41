"""`/api/v1/lineage`: the events, batches, code and checks that made a candle."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, HTTPException, Path, Query, status

from include.api.lineage_schemas import LineageOut
from include.api.problems import declared, not_collected
from include.api.ranges import in_utc, unusable
from include.market.candle import Interval
from include.market.instrument import Instrument
from include.storage.lineage_reads import LineageReads
from include.storage.lineage_rules import window_of


def create_lineage_router(market: str, instruments: Sequence[Instrument], reader: LineageReads) -> APIRouter:
    """The route over the given reader; `instruments` are those that this stack collects."""
    router = APIRouter(prefix="/api/v1", tags=["market data"])
    symbols = {instrument.symbol for instrument in instruments}

    @router.get("/lineage/{symbol}/{window_start}", summary="What made a candle", responses=declared(404, 422, 503))
    def read_lineage(
        symbol: str,
        window_start: Annotated[datetime, Path(description="UTC unless it says; any time in the window")],
        interval: Annotated[Interval, Query(description="of the candle")] = "1m",
    ) -> LineageOut:
        """Every event of the window, counted or not and why; the batches that stored them, with Kafka's offsets, epoch
        and code; backfills of that day; the quality runs that looked at it, and what they found."""
        if symbol not in symbols:
            raise not_collected(symbol)
        try:
            start, _ = window_of(in_utc(window_start, "window_start"), interval)
        except OverflowError:
            raise unusable("window_start", "beyond the calendar") from None
        found = reader.lineage(symbol, start, interval)
        if found is None:
            raise HTTPException(
                status.HTTP_404_NOT_FOUND,
                f"there is no {interval} candle of {symbol} at {start:%Y-%m-%d %H:%M} UTC; "
                f"/api/v1/candles/{symbol} lists those that are there",
            )
        return LineageOut.of(market, found)

    return router
