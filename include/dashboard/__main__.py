"""`python -m include.dashboard`: the page and the API on one port, one worker, this machine only."""

from __future__ import annotations

import logging
import sys

import uvicorn
from fastapi import FastAPI

from include.api.app import create_api
from include.api.headers import SecurityHeaders, content_security_policy, security_headers
from include.dashboard.app import create_dashboard
from include.dashboard.market_view import MarketView
from include.errors import SettingsError
from include.settings import Settings, required, settings
from include.sources.catalogue import catalogue
from include.storage.cache import CacheManager
from include.storage.market_reads import MarketReader

HOST = "127.0.0.1"


def create_application(chosen: Settings) -> FastAPI:
    """The whole ASGI application. Raises SettingsError; connects to the stores only when asked."""
    if chosen.market is None:
        raise SettingsError("MARKET is not set: start the stack with ./pipeline up")
    instruments = [
        *catalogue().select("STOCK_SYMBOLS", chosen.stock_symbols, "stock"),
        *catalogue().select("CRYPTO_SYMBOLS", chosen.crypto_symbols, "crypto"),
    ]
    if not instruments:
        raise SettingsError("STOCK_SYMBOLS and CRYPTO_SYMBOLS are both empty: name at least one symbol")
    reader = MarketReader(required(chosen.reader_database_url or chosen.database_url, "DATABASE_URL"))
    cache = CacheManager(required(chosen.redis_url, "REDIS_URL"))
    server = create_api(chosen.market, instruments, reader, cache)
    page = create_dashboard(server, MarketView(instruments, reader, cache), chosen.market)
    airflow = [f"http://{host}:{chosen.ports.airflow}" for host in (HOST, "localhost")]
    policy = content_security_policy(page.csp_hashes(), airflow)
    server.add_middleware(SecurityHeaders, headers=security_headers(policy))
    return server


def main() -> int:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    try:
        application = create_application(settings())
    except SettingsError as error:
        print(error, file=sys.stderr)
        return 2
    port = settings().ports.dashboard
    uvicorn.run(application, host=HOST, port=port, workers=1, server_header=False, access_log=False)
    return 0


if __name__ == "__main__":
    sys.exit(main())
