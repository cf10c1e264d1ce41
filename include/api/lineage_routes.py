"""`/api/v1/lineage`: the events, batches, code and checks that made a candle."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Path, Query, status

from include.api.lineage_schemas import LineageOut
from include.api.problems import MEDIA_TYPE, Problem
from include.market.candle import Interval
from include.market.instrument import Instrument
from include.storage.lineage_reads import LineageReads
from include.storage.lineage_rules import window_of


def create_lineage_router(market: str, instruments: Sequence[Instrument], reader: LineageReads) -> APIRouter:
    """The route over the given reader; `instruments` are those that this stack collects."""
    router = APIRouter(prefix="/api/v1", tags=["market data"])
    symbols = {instrument.symbol for instrument in instruments}
    problems: dict[int | str, dict[str, Any]] = {
        code: {"model": Problem, "content": {MEDIA_TYPE: {}}} for code in (404, 422, 503)
    }

    @router.get("/lineage/{symbol}/{window_start}", summary="What made a candle", responses=problems)
    def read_lineage(
        symbol: str,
        window_start: Annotated[datetime, Path(description="UTC unless it says; any time in the window")],
        interval: Annotated[Interval, Query(description="of the candle")] = "1m",
    ) -> LineageOut:
        """Every event of the window, counted or not and why; the batches that stored them, with Kafka's offsets, epoch
        and code; backfills of that day; the quality runs that looked at it, and what they found."""
        if symbol not in symbols:
            raise HTTPException(
                status.HTTP_404_NOT_FOUND, f"{symbol} is not collected here; /api/v1/instruments lists what is"
            )
        try:
            moment = window_start.replace(tzinfo=window_start.tzinfo or UTC).astimezone(UTC)
            start, _ = window_of(moment, interval)
        except OverflowError:
            raise HTTPException(status.HTTP_422_UNPROCESSABLE_CONTENT, "window_start: beyond the calendar") from None
        found = reader.lineage(symbol, start, interval)
        if found is None:
            raise HTTPException(
                status.HTTP_404_NOT_FOUND,
                f"there is no {interval} candle of {symbol} at {start:%Y-%m-%d %H:%M} UTC; "
                f"/api/v1/candles/{symbol} lists those that are there",
            )
        return LineageOut.of(market, found)

    return router
