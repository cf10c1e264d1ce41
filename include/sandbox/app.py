"""The sandbox's server: every dialect under its name, behind its counts and faults."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

from starlette.applications import Starlette
from starlette.routing import BaseRoute, Route, WebSocketRoute

from include.errors import SettingsError
from include.market.instrument import Catalogue
from include.sandbox import alpha_vantage, binance, coingecko, yahoo
from include.sandbox.alpha_vantage_faults import ALPHA_VANTAGE_FAULTS
from include.sandbox.binance_faults import BINANCE_FAULTS
from include.sandbox.calls import CallBook
from include.sandbox.coingecko_faults import COINGECKO_FAULTS
from include.sandbox.control import Control
from include.sandbox.dialect import Dialect
from include.sandbox.faults import FaultKind, Faults, moment
from include.sandbox.front import Front
from include.sandbox.market import Market, Sandbox
from include.sandbox.minute_trades import TRADES_PER_MINUTE
from include.sandbox.recorded import open_recordings
from include.sandbox.simulated import SimulatedMarket
from include.sandbox.stream_faults import BINANCE_STREAM_FAULTS, STREAM_FAULTS
from include.sandbox.yahoo_faults import YAHOO_FAULTS
from include.settings import Settings

#: A new source is one file with a `dialect` function, and one entry here,
DIALECTS: tuple[Callable[[Sandbox], Dialect], ...] = (
    yahoo.dialect,
    alpha_vantage.dialect,
    coingecko.dialect,
    binance.dialect,
)
#: and one with its faults, and one entry here.
FAULTS: Mapping[str, Sequence[FaultKind]] = {
    "yahoo": (*YAHOO_FAULTS, *STREAM_FAULTS),
    "alpha_vantage": ALPHA_VANTAGE_FAULTS,
    "coingecko": COINGECKO_FAULTS,
    "binance": (*BINANCE_FAULTS, *BINANCE_STREAM_FAULTS),
}


def open_market(config: Settings, catalogue: Catalogue, now: float) -> Market:
    """The market that MARKET names. Raises SettingsError, one line that names the setting."""
    if config.market == "sandbox":
        return SimulatedMarket(catalogue, config.sandbox_seed)
    if config.market == "replay":
        return open_recordings(config, catalogue, now)
    stated = "is not set" if config.market is None else f"={config.market} needs no stand-in"
    raise SettingsError(f"MARKET{' ' if config.market is None else ''}{stated}: it takes sandbox or replay here")


def create_app(
    market: Market,
    catalogue: Catalogue,
    seed: int,
    clock: Callable[[], float] = time.time,
    trades_per_minute: int = TRADES_PER_MINUTE,
) -> Starlette:
    """The ASGI app. `clock` gives UTC epoch seconds."""

    def shown_clock() -> float:
        """Another moment than now, while a fault answers for it."""
        other = moment.get()
        return clock() if other is None else other

    sandbox = Sandbox(market, catalogue, shown_clock, trades_per_minute)
    faults, calls = Faults(FAULTS), CallBook()
    front = Front(sandbox, faults, calls, clock)
    routes: list[BaseRoute] = [*Control(sandbox, faults, calls, seed, clock).routes()]
    for build in DIALECTS:
        dialect = build(sandbox)
        root = f"/{dialect.name}"
        for path, handler in dialect.routes.items():
            routes.append(Route(root + path, front.call(dialect.name, path, handler)))
        for path, talk in dialect.streams.items():
            routes.append(WebSocketRoute(root + path, front.stream(dialect.name, path, talk)))
    app = Starlette(routes=routes)
    app.state.clock = clock
    return app
