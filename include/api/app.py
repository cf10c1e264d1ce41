"""The REST API as a FastAPI application; the dashboard joins it on the same server."""

from __future__ import annotations

from collections.abc import Sequence

from fastapi import FastAPI
from fastapi.responses import HTMLResponse

from include.api import docs, problems
from include.api.routes import create_router
from include.market.instrument import Instrument
from include.storage.market_reads import CandleReads, PriceReads

SCHEMA_URL = "/api/openapi.json"


def create_api(market: str, instruments: Sequence[Instrument], reader: CandleReads, cache: PriceReads) -> FastAPI:
    """`/api/v1/...`, `/api/docs`, `/api/openapi.json`. Reads only; errors are problem JSON."""
    # The framework's own documentation pages load their scripts from another host.
    app = FastAPI(
        title="Market Data API",
        description=f"Candles and prices as stored. Decimals are strings, times ISO 8601 UTC. Market: {market}.",
        version="1",
        docs_url=None,
        redoc_url=None,
        openapi_url=SCHEMA_URL,
    )
    problems.install(app)

    @app.get("/api/docs", include_in_schema=False, response_class=HTMLResponse)
    def documentation() -> str:
        return docs.render(app.openapi(), SCHEMA_URL)

    app.include_router(create_router(market, instruments, reader, cache))
    return app
