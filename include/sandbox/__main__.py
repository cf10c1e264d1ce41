"""`python -m include.sandbox`: the stand-in for the market sources, on this machine only."""

from __future__ import annotations

import sys
import time

from include.errors import SettingsError
from include.sandbox.app import create_app, open_market
from include.sandbox.server import server
from include.settings import settings
from include.sources.catalogue import catalogue

HOST = "127.0.0.1"


def main() -> None:
    """Serves until it is told to stop; a setting that cannot be used ends it with one line."""
    try:
        config = settings()
        market = open_market(config, catalogue(), time.time())
    except SettingsError as error:
        sys.exit(str(error))
    print(f"{market.description} market on http://{HOST}:{config.ports.sandbox}", flush=True)
    app = create_app(market, catalogue(), config.sandbox_seed, trades_per_minute=config.sandbox_trades_per_minute)
    server(app, HOST, config.ports.sandbox).run()


if __name__ == "__main__":
    main()
