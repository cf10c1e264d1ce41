"""The REST API as a FastAPI application; the dashboard joins it on the same server."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from fastapi import APIRouter, Depends, FastAPI
from fastapi.responses import HTMLResponse
from pydantic import SecretStr

from include.api import auth, docs, openapi, problems
from include.api.anomaly_routes import create_anomaly_router
from include.api.etags import EntityTags
from include.api.event_routes import create_event_router
from include.api.health_routes import create_health_router
from include.api.indicator_routes import create_indicator_router
from include.api.limits import RateLimit, SizeLimit
from include.api.lineage_routes import create_lineage_router
from include.api.parameters import refuse_unknown
from include.api.quality_routes import create_quality_router
from include.api.routes import create_router
from include.market.instrument import Instrument
from include.storage.anomaly_reads import AnomalyReads
from include.storage.event_reads import EventReads
from include.storage.indicator_reads import IndicatorReads
from include.storage.lineage_reads import LineageReads
from include.storage.market_reads import CandleReads, PriceReads
from include.storage.quality_reads import QualityReads

SCHEMA_URL = "/api/openapi.json"
_ABOUT = "Market data as stored. Prices and volumes are strings and exact, times ISO 8601 UTC. Market: {}."
_Reader = TypeVar("_Reader")


def create_api(
    market: str,
    instruments: Sequence[Instrument],
    reader: CandleReads,
    cache: PriceReads,
    events: EventReads | None = None,
    quality: QualityReads | None = None,
    lineage: LineageReads | None = None,
    indicators: IndicatorReads | None = None,
    anomalies: AnomalyReads | None = None,
    *,
    token: SecretStr | None = None,
    requests_per_minute: int | None = None,
) -> FastAPI:
    """`/api/v1/...`, `/api/docs`, `/api/openapi.json`. Reads only; errors are problem JSON.

    A reader that is not given has no route. `token`: asked for on every route but health; None: nobody is asked.
    `requests_per_minute`: from one address; None: as many as they like.
    """
    # The framework's own documentation pages load their scripts from another host.
    app = FastAPI(
        title="Market Data API",
        description=_ABOUT.format(market),
        version="1",
        docs_url=None,
        redoc_url=None,
        openapi_url=SCHEMA_URL,
    )
    problems.install(app)

    @app.get("/api/docs", include_in_schema=False, response_class=HTMLResponse)
    def documentation() -> str:
        return docs.render(app.openapi(), SCHEMA_URL)

    checked = Depends(refuse_unknown)
    guarded = [Depends(auth.guard(token)), checked]
    refusals = problems.declared(401, 414, 422, 429)

    def add(create: Callable[[str, Sequence[Instrument], _Reader], APIRouter], given: _Reader | None) -> None:
        if given is not None:
            app.include_router(create(market, instruments, given), dependencies=guarded, responses=refusals)

    health = create_health_router(market, reader, cache)
    app.include_router(health, dependencies=[checked], responses=problems.declared(422))
    add(create_event_router, events)
    add(create_quality_router, quality)
    add(create_lineage_router, lineage)
    add(create_indicator_router, indicators)
    add(create_anomaly_router, anomalies)
    # The last, for it answers every address that no other does.
    app.include_router(create_router(market, instruments, reader, cache), dependencies=guarded, responses=refusals)
    openapi.finish(app, needs_token=token is not None)
    # The last is the outermost: what is refused costs no more than the refusal.
    app.add_middleware(EntityTags)
    app.add_middleware(SizeLimit)
    if requests_per_minute is not None:
        app.add_middleware(RateLimit, requests_per_minute=requests_per_minute)
    return app
