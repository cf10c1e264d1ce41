"""The dashboard's own process beside the benchmark's stores, with candles up to now to show."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import httpx2
import psutil

from benchmarks.stream_parts.stores import Stores, last_words, program
from benchmarks.warehouse_parts.history import fill_windows
from include.errors import StackError
from include.sources.catalogue import catalogue
from include.stack.plan import LOOPBACK

LOG = "bench-dashboard"
SYMBOLS = tuple(each.symbol for each in catalogue() if each.asset_class == "stock")[:20]
#: Enough for 500 candles of 5 minutes.
HISTORY = timedelta(days=2)
_START_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Service:
    """A running dashboard: where it is, and its process."""

    url: str
    process: psutil.Process

    @property
    def memory_mib(self) -> float:
        return round(self.process.memory_info().rss / 2**20, 1)

    @property
    def connections(self) -> int:
        """Browsers that are connected."""
        port = int(self.url.rpartition(":")[2])
        return sum(
            each.laddr.port == port and each.status == psutil.CONN_ESTABLISHED
            for each in self.process.net_connections("tcp")
        )


def fill(held: Stores) -> None:
    """Candles, indicators and anomalies of every symbol until the current minute."""
    now = datetime.now(UTC)
    end = now - timedelta(minutes=now.minute % 5, seconds=now.second, microseconds=now.microsecond)
    with held.connect() as connection:
        fill_windows(connection, end - HISTORY, end, SYMBOLS)
        connection.execute("VACUUM (ANALYZE) candles, indicators, price_anomalies")


@contextmanager
def dashboard(held: Stores) -> Iterator[Service]:
    """As `./pipeline up` runs it. Raises StackError where it does not answer."""
    url = f"http://{LOOPBACK}:{held.plan.settings.ports.dashboard}"
    with program(held, [sys.executable, "-m", "include.web"], LOG) as process:
        deadline = time.monotonic() + _START_SECONDS
        while not _answers(url):
            if process.poll() is not None or time.monotonic() > deadline:
                raise StackError(f"the dashboard does not answer: {last_words(held, LOG)}")
            time.sleep(0.1)
        yield Service(url, psutil.Process(process.pid))


def settings() -> dict[str, str]:
    """What the stores must be started with, so that these symbols are collected."""
    return {"STOCK_SYMBOLS": ",".join(SYMBOLS), "CRYPTO_SYMBOLS": ""}


def _answers(url: str) -> bool:
    try:
        return httpx2.get(f"{url}/api/v1/health", timeout=2).status_code == httpx2.codes.OK
    except httpx2.HTTPError:
        return False
