"""The REST API as a FastAPI application; the dashboard joins it on the same server."""

from __future__ import annotations

from collections.abc import Sequence

from fastapi import FastAPI
from fastapi.responses import HTMLResponse

from include.api import docs, problems
from include.api.event_routes import create_event_router
from include.api.lineage_routes import create_lineage_router
from include.api.quality_routes import create_quality_router
from include.api.routes import create_router
from include.market.instrument import Instrument
from include.storage.event_reads import EventReads
from include.storage.lineage_reads import LineageReads
from include.storage.market_reads import CandleReads, PriceReads
from include.storage.quality_reads import QualityReads

SCHEMA_URL = "/api/openapi.json"


def create_api(
    market: str,
    instruments: Sequence[Instrument],
    reader: CandleReads,
    cache: PriceReads,
    events: EventReads | None = None,
    quality: QualityReads | None = None,
    lineage: LineageReads | None = None,
) -> FastAPI:
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

    if events is not None:
        app.include_router(create_event_router(market, instruments, events))
    if quality is not None:
        app.include_router(create_quality_router(market, instruments, quality))
    if lineage is not None:
        app.include_router(create_lineage_router(market, instruments, lineage))
    # The last, for it answers every address that no other does.
    app.include_router(create_router(market, instruments, reader, cache))
    return app
