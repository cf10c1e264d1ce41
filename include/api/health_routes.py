"""`/api/v1/health`: for supervision, so it needs no token."""

from __future__ import annotations

import redis
from fastapi import APIRouter, Response, status

from include.api.schemas import Health
from include.storage.market_reads import CandleReads, DatabaseUnavailable, PriceReads


def create_health_router(market: str, reader: CandleReads, cache: PriceReads) -> APIRouter:
    router = APIRouter(prefix="/api/v1", tags=["market data"])

    @router.get("/health", summary="Whether the stores answer", responses={503: {"model": Health}})
    def health(response: Response) -> Health:
        """200 while every store answers, else 503 with the same fields."""
        found = read_health(market, reader, cache)
        if found.status != "ok":
            response.status_code = status.HTTP_503_SERVICE_UNAVAILABLE
        return found

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
