"""`/api/v1/indicators`: what is computed from the closes, window by window."""

from __future__ import annotations

from collections.abc import Sequence

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from include.api import tables
from include.api.paging import Cursor, Limit, next_url, older_than
from include.api.problems import declared, not_collected
from include.api.ranges import WindowEnd, WindowStart, bounds
from include.api.schemas import Moment
from include.market.candle import Interval
from include.market.instrument import Instrument
from include.storage.indicator_reads import IndicatorReads, IndicatorRow


class IndicatorOut(BaseModel):
    """Null where the symbol has too few candles yet. Numbers, not strings: they are floating point where they are made,
    and a string would promise exactness that they never had."""

    window_start: Moment
    sma_20: float | None
    ema_12: float | None
    ema_26: float | None
    bollinger_upper: float | None
    bollinger_middle: float | None
    bollinger_lower: float | None
    volatility_20: float | None

    @classmethod
    def of(cls, row: IndicatorRow) -> IndicatorOut:
        return cls(**{name: getattr(row, name) for name in cls.model_fields})


class Indicators(BaseModel):
    """`next` is the address of the page of older ones, null on the last."""

    market: str
    symbol: str
    interval: Interval
    next: str | None
    indicators: list[IndicatorOut]


def create_indicator_router(market: str, instruments: Sequence[Instrument], reader: IndicatorReads) -> APIRouter:
    """The route over the given reader; `instruments` are those that this stack collects."""
    router = APIRouter(prefix="/api/v1", tags=["market data"])
    symbols = {instrument.symbol for instrument in instruments}

    @router.get(
        "/indicators/{symbol}",
        summary="Indicators, oldest first",
        response_model=Indicators,
        responses={**declared(404, 422, 503), 200: tables.ANSWERS},
    )
    def list_indicators(
        request: Request,
        symbol: str,
        interval: Interval = "1m",
        start: WindowStart = None,
        end: WindowEnd = None,
        limit: Limit = 500,
        format: tables.Format = "json",
        cursor: Cursor = None,
    ) -> Response:
        """The newest `limit` of the range; `next` leads to older ones. SMA(20), EMA(12, 26), Bollinger(20, 2) of the
        closes; volatility_20 is the sample deviation of the last 20 log returns."""
        if symbol not in symbols:
            raise not_collected(symbol)
        first, until = bounds(start, end)
        found = reader.indicators(symbol, interval, limit + 1, older_than(cursor, until), first)
        page = found[-limit:]
        following = next_url(request, page[0].window_start) if len(found) > limit else None
        return tables.served(
            format,
            tables.Table(f"{symbol}-{interval}-indicators", market, tables.INDICATORS, page),
            lambda: Indicators(
                market=market,
                symbol=symbol,
                interval=interval,
                next=following,
                indicators=[IndicatorOut.of(each) for each in page],
            ),
            following,
        )

    return router
