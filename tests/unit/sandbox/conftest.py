"""Markets, recordings and a server for the sandbox's tests."""

from __future__ import annotations

import gzip
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from include.sandbox.app import create_app, open_market
from include.sandbox.market import Market
from include.sandbox.server import PING_SECONDS, server
from include.sandbox.simulated import SimulatedMarket
from include.settings import Settings
from include.sources.catalogue import catalogue

SEED = 7
#: 20 seconds into a minute.
NOW = int(datetime(2026, 11, 23, 10, 0, 20, tzinfo=UTC).timestamp())

Row = tuple[str, str, str, str, str, str, str]


def at(stamp: str) -> int:
    """ISO 8601 to UTC epoch seconds."""
    return int(datetime.fromisoformat(stamp).timestamp())


def write_recording(folder: Path, name: str, rows: Iterable[Row]) -> None:
    folder.mkdir(exist_ok=True)
    with gzip.open(folder / f"{name}.csv.gz", "wt") as file:
        file.write("symbol,ts_utc,open,high,low,close,volume\n")
        file.writelines(",".join(row) + "\n" for row in rows)


def flat(symbol: str, stamp: str, price: str = "10.00", volume: str = "100") -> Row:
    """A bar that stood still."""
    return symbol, stamp, price, price, price, price, volume


def replay(home: Path, recordings: Path, now: float, **settings: Any) -> Market:
    config = Settings(market="replay", pipeline_home=home, replay_data_dir=recordings, **settings)
    return open_market(config, catalogue(), now)


def client(market: Market, now: float = NOW) -> TestClient:
    return TestClient(create_app(market, catalogue(), SEED, lambda: now))


@pytest.fixture(scope="session")
def simulated() -> SimulatedMarket:
    return SimulatedMarket(catalogue(), SEED)


@pytest.fixture(scope="session")
def serve() -> Callable[..., Any]:
    """A context that serves a market over real HTTP and gives the base URL."""

    @contextmanager
    def serving(
        market: Market, clock: Callable[[], float] = time.time, ping_seconds: float = PING_SECONDS, port: int = 0
    ) -> Iterator[str]:
        listener = socket.socket()
        listener.bind(("127.0.0.1", port))
        # From here on a client waits for the server instead of being refused.
        listener.listen()
        app = create_app(market, catalogue(), SEED, clock)
        serving = server(app, "127.0.0.1", 0, ping_seconds)
        thread = threading.Thread(target=serving.run, args=([listener],))
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            serving.should_exit = True
            thread.join(10)
            listener.close()

    return serving
