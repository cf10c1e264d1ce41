"""The pages and the API on one port, one worker, this machine only; `include.web` runs them."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from datetime import timedelta

import uvicorn
from fastapi import FastAPI
from starlette.middleware.gzip import GZipMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.types import Receive, Scope, Send

from include.api.app import create_api
from include.api.headers import SecurityHeaders, content_security_policy, security_headers
from include.dashboard.alerts_view import AlertsView
from include.dashboard.app import create_dashboard
from include.dashboard.live import LiveHub
from include.dashboard.live_routes import alongside, create_live_router
from include.dashboard.market_view import Figures, MarketView
from include.dashboard.operations_doors import operations_view
from include.dashboard.operations_view import LetterDesk
from include.dashboard.quality_view import QualityView
from include.errors import SettingsError
from include.settings import Settings, required, settings
from include.sources.catalogue import catalogue
from include.storage.alert_reads import Acknowledger, AlertReader
from include.storage.anomaly_reads import AnomalyReader
from include.storage.archive_catalogue import archive_folder
from include.storage.cache import CacheManager
from include.storage.chart_reads import ChartReader
from include.storage.event_reads import EventReader
from include.storage.indicator_reads import IndicatorReader
from include.storage.lineage_reads import LineageReader
from include.storage.live_reads import LiveReader
from include.storage.market_reads import MarketReader
from include.storage.price_feed import PriceFeed
from include.storage.quality_reads import QualityReader

HOST = "127.0.0.1"
#: A third of the bytes, in half the time that the last few per cent would take.
_COMPRESSION = 3


def create_application(
    chosen: Settings, figures: Figures, desk: LetterDesk | None = None, *, can_replay: bool = False
) -> FastAPI:
    """The whole ASGI application. Raises SettingsError; connects to the stores only when asked.

    `figures`: how indicators and anomalies of candles come about; `desk`: the dead letters. Neither is the dashboard's
    own. `can_replay`: dead letters may be published again.
    """
    if chosen.market is None:
        raise SettingsError("MARKET is not set: start the stack with ./pipeline up")
    instruments = [
        *catalogue().select("STOCK_SYMBOLS", chosen.stock_symbols, "stock"),
        *catalogue().select("CRYPTO_SYMBOLS", chosen.crypto_symbols, "crypto"),
    ]
    if not instruments:
        raise SettingsError("STOCK_SYMBOLS and CRYPTO_SYMBOLS are both empty: name at least one symbol")
    database_url = required(chosen.reader_database_url or chosen.database_url, "DATABASE_URL")
    reader = MarketReader(database_url, timedelta(seconds=chosen.watermark_seconds))
    events = EventReader(database_url, archive_folder(chosen))
    quality = QualityReader(database_url)
    redis_url = required(chosen.reader_redis_url or chosen.redis_url, "REDIS_URL")
    cache = CacheManager(redis_url)
    lineage = LineageReader(database_url)
    server = create_api(
        chosen.market,
        instruments,
        reader,
        cache,
        events,
        quality,
        lineage,
        IndicatorReader(database_url),
        AnomalyReader(database_url),
        token=chosen.api_token,
        requests_per_minute=chosen.api_requests_per_minute,
    )
    airflow = [f"http://{host}:{chosen.ports.airflow}" for host in (HOST, "localhost")]
    quality_view = QualityView([each.symbol for each in instruments], quality, airflow[0])
    view = MarketView(instruments, reader, cache, ChartReader(database_url), figures)
    hub = LiveHub(view, PriceFeed(redis_url), LiveReader(database_url))
    server.include_router(create_live_router(hub, view.symbols))
    writer_url = chosen.writer_database_url or chosen.database_url
    acknowledger = None if writer_url is None else Acknowledger(required(writer_url, "DATABASE_URL"))
    alerts = AlertsView(AlertReader(database_url), acknowledger)
    operations = operations_view(chosen, database_url, airflow[0], desk)
    pages = create_dashboard(
        server, view, alerts, quality_view, chosen.market, operations, can_replay=can_replay and desk is not None
    )
    server.router.lifespan_context = alongside(server.router.lifespan_context, hub)
    policy = content_security_policy(pages.csp_hashes(), airflow)
    server.add_middleware(CompressedPages, compresslevel=_COMPRESSION)
    server.add_middleware(TrustedHostMiddleware, allowed_hosts=hosts(chosen))
    server.add_middleware(SecurityHeaders, headers=security_headers(policy))
    return server


def hosts(chosen: Settings) -> list[str]:
    """The names under which the pages are asked for: this machine's, and that of DASHBOARD_URL.

    Under any other a foreign page whose name was made to lead here would pass for one of ours.
    """
    named = chosen.dashboard_url.host if chosen.dashboard_url is not None else None
    return [HOST, "localhost", *([named] if named else [])]


class CompressedPages(GZipMiddleware):
    """Pages, their parts and what they ask; not the API, whose tags are of the bytes that it answers."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].startswith("/api/"):
            await self.app(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)


def serve(create: Callable[[Settings], FastAPI], host: str) -> int:
    """Runs what `create` makes until it is stopped; the process's exit code."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    try:
        application = create(settings())
    except SettingsError as error:
        print(error, file=sys.stderr)
        return 2
    port = settings().ports.dashboard
    uvicorn.run(
        application, host=host, port=port, workers=1, server_header=False, access_log=False, proxy_headers=False
    )
    return 0
