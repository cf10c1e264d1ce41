"""The sandbox's server: every dialect under its name, and what the sandbox says about itself."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from include.errors import SettingsError
from include.market.instrument import Catalogue
from include.sandbox import binance, yahoo
from include.sandbox.bars import DAY
from include.sandbox.dialect import Dialect, Handler, json_response
from include.sandbox.market import Market, Sandbox, iso
from include.sandbox.recorded import open_recordings
from include.sandbox.simulated import SimulatedMarket
from include.settings import Settings

#: A new source is one file with a `dialect` function, and one entry here.
DIALECTS: tuple[Callable[[Sandbox], Dialect], ...] = (yahoo.dialect, binance.dialect)
TIMELINE_DAYS_BEFORE, TIMELINE_DAYS_AFTER = 7, 2


def open_market(config: Settings, catalogue: Catalogue, now: float) -> Market:
    """The market that MARKET names. Raises SettingsError, one line that names the setting."""
    if config.market == "sandbox":
        return SimulatedMarket(catalogue, config.sandbox_seed)
    if config.market == "replay":
        return open_recordings(config, catalogue, now)
    stated = "is not set" if config.market is None else f"={config.market} needs no stand-in"
    raise SettingsError(f"MARKET{' ' if config.market is None else ''}{stated}: it takes sandbox or replay here")


def create_app(market: Market, catalogue: Catalogue, seed: int, clock: Callable[[], float] = time.time) -> Starlette:
    """The ASGI app. `clock` gives UTC epoch seconds."""
    sandbox = Sandbox(market, catalogue, clock)
    calls: dict[str, Counter[str]] = {}

    def counted(source: str, path: str, handler: Handler) -> Handler:
        calls.setdefault(source, Counter())[path] = 0

        async def counting(request: Request) -> Response:
            calls[source][path] += 1
            return await handler(request)

        return counting

    async def health(request: Request) -> Response:
        return json_response({"status": "ok"})

    async def status(request: Request) -> Response:
        now = int(clock())
        segments = market.timeline(now - TIMELINE_DAYS_BEFORE * DAY, now + TIMELINE_DAYS_AFTER * DAY)
        return json_response(
            {
                "market": market.name,
                "seed": seed,
                "start": iso(market.start),
                "now": iso(now),
                "symbols": {class_: market.symbols(class_) for class_ in ("stock", "crypto")},
                "calls": calls,
                "timeline": [segment.as_json() for segment in segments],
            }
        )

    routes = [Route("/sandbox/health", health), Route("/sandbox/status", status)]
    for build in DIALECTS:
        dialect = build(sandbox)
        routes += [
            Route(f"/{dialect.name}{path}", counted(dialect.name, path, handler))
            for path, handler in dialect.routes.items()
        ]
    return Starlette(routes=routes)
