"""Both producers on the real stores, asking the sandbox while it fails: who serves, what is asked, what is kept."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import httpx2
import psycopg
import pytest
import redis
from pydantic import SecretStr

from include.errors import SourceError
from include.producers.crypto_producer import CryptoDataProducer
from include.producers.report import IngestionReport
from include.producers.stock_producer import StockDataProducer
from include.settings import PROJECT_ROOT
from include.storage.database import libpq_url
from tests.ports import free_port_offset
from tests.stores import Services
from tests.waiting import wait_until


class Sandbox:
    """The stand-in's own API."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self._client = httpx2.Client(base_url=f"{self.url}/sandbox", timeout=10)

    def is_up(self) -> bool:
        try:
            return self._client.get("/health").is_success
        except httpx2.HTTPError:
            return False

    def fail(self, source: str, name: str, **more: Any) -> None:
        self._client.post("/faults", json={"source": source, "name": name} | more).raise_for_status()

    def clear(self) -> None:
        self._client.delete("/faults").raise_for_status()

    def calls(self, source: str) -> int:
        return int(self._client.get("/calls", params={"source": source}).json()["totals"][source]["calls"])

    def totals(self) -> dict[str, dict[str, int]]:
        totals: dict[str, dict[str, int]] = self._client.get("/calls").json()["totals"]
        return totals


@pytest.fixture
def sandbox(services: Services) -> Iterator[Sandbox]:
    forget(services)
    made = Sandbox(services.settings.ports.sandbox)
    made.clear()
    yield made
    made.clear()
    forget(services)


@pytest.fixture
def unasked(services: Services) -> Iterator[tuple[Sandbox, dict[str, Any]]]:
    """A stand-in that nobody has asked yet, with its quotas untouched, and the settings that lead there."""
    forget(services)
    offset = free_port_offset()
    process = subprocess.Popen(
        [sys.executable, "-m", "include.sandbox"],
        cwd=PROJECT_ROOT,
        env=services.environment | {"PIPELINE_PORT_OFFSET": str(offset)},
    )
    made = Sandbox(8070 + offset)
    wait_until(made.is_up, seconds=30, what="the second sandbox")
    yield made, {f"{name}_base_url": f"{made.url}/{name}" for name in ("yahoo", "alpha_vantage")}
    process.terminate()
    process.wait()
    forget(services)


def forget(services: Services) -> None:
    """Each test begins with sources that are well and nothing published."""
    with psycopg.connect(libpq_url(services.database_url), autocommit=True) as database:
        for table in ("source_health", "source_calls", "source_switches", "ingestion_watermarks"):
            database.execute(f"DELETE FROM {table}")
    stored = redis.Redis.from_url(services.redis_url)
    for key in stored.scan_iter("source:*"):
        stored.delete(key)


def stocks(services: Services, **changes: Any) -> IngestionReport:
    settings = services.settings.model_copy(update={"stock_symbols": ("AAPL", "IBM"), **changes})
    with StockDataProducer(settings) as producer:
        return producer.run_once()


def crypto(services: Services, **changes: Any) -> IngestionReport:
    settings = services.settings.model_copy(update={"crypto_symbols": ("BTC-USD", "ETH-USD"), **changes})
    with CryptoDataProducer(settings) as producer:
        return producer.run_once()


def counts(report: IngestionReport) -> dict[str, tuple[int, int]]:
    return {source.source: (source.bars, source.quotes) for source in report.sources}


def switches(services: Services) -> list[tuple[str, str, str, str]]:
    with psycopg.connect(libpq_url(services.database_url)) as database:
        rows = database.execute(
            "SELECT asset_class, kind, from_source, to_source FROM source_switches ORDER BY id"
        ).fetchall()
    return [(str(a), str(b), str(c), str(d)) for a, b, c, d in rows]


def test_a_ban_is_taken_over_within_the_poll_kept_by_all_and_never_asked_into(
    services: Services, unasked: tuple[Sandbox, dict[str, Any]]
) -> None:
    sandbox, there = unasked
    sandbox.fail("yahoo", "429")
    report = stocks(services, **there)
    assert counts(report)["alpha_vantage"][0] > 0
    assert ("stock", "bar60", "yahoo", "alpha_vantage") in switches(services)
    assert sandbox.calls("yahoo") == 1, "the first refusal closes the door for all symbols"
    # Another process, after Redis has lost everything: it remembers.
    redis.Redis.from_url(services.redis_url).flushall()
    again = stocks(services, **there)
    assert sandbox.calls("yahoo") == 1
    assert counts(again).get("yahoo", (0, 0)) == (0, 0)


@pytest.mark.parametrize("fault", ["html-503", "reset", "truncated", "gzip-bomb", "bad-utf8", "deep", "nan"])
def test_a_broken_source_is_taken_over_within_the_poll(services: Services, sandbox: Sandbox, fault: str) -> None:
    sandbox.fail("binance", fault)
    report = crypto(services)
    given = counts(report)
    assert given["coingecko"][1] == 2
    assert given.get("binance", (0, 0)) == (0, 0)
    assert ("crypto", "quote", "binance", "coingecko") in switches(services)


def test_a_mute_source_is_taken_over_within_the_poll(services: Services, sandbox: Sandbox) -> None:
    sandbox.fail("binance", "mute")
    assert counts(crypto(services))["coingecko"][1] == 2


@pytest.mark.parametrize(("plan", "has_minutes"), [("free", False), ("realtime", True)])
def test_a_free_key_confirms_prices_and_an_entitled_one_gives_minutes(
    services: Services, unasked: tuple[Sandbox, dict[str, Any]], plan: str, has_minutes: bool
) -> None:
    sandbox, there = unasked
    sandbox.fail("yahoo", "html-503")
    key = SecretStr(f"sandbox-{plan}")
    report = stocks(services, stock_symbols=("AAPL",), alpha_vantage_plan=plan, alpha_vantage_api_key=key, **there)
    bars, quotes = counts(report)["alpha_vantage"]
    assert quotes == 1
    assert (bars > 50) == has_minutes
    assert sandbox.totals()["alpha_vantage"]["calls_over_limit"] == 0


def test_what_came_meanwhile_is_fetched_when_the_source_is_back_and_nothing_twice(
    services: Services, sandbox: Sandbox
) -> None:
    first = crypto(services)
    sandbox.fail("binance", "html-503")
    for _ in range(3):
        crypto(services)
    sandbox.clear()
    with psycopg.connect(libpq_url(services.database_url), autocommit=True) as database:
        (through,) = database.execute(
            "SELECT min(published_through) FROM ingestion_watermarks WHERE kind = 'bar60' AND source = 'binance'"
        ).fetchone() or (None,)
        # As if the outage had begun ten minutes earlier: those minutes are owed.
        database.execute(
            "UPDATE ingestion_watermarks SET published_through = published_through - interval '10 minutes' "
            "WHERE kind = 'bar60' AND source = 'binance'"
        )
        database.execute("DELETE FROM source_health")
    for key in redis.Redis.from_url(services.redis_url).scan_iter("source:*"):
        redis.Redis.from_url(services.redis_url).delete(key)
    assert through is not None
    caught_up = 0
    for _ in range(4):
        caught_up += counts(crypto(services)).get("binance", (0, 0))[0]
    assert counts(first)["binance"][0] > 400
    now = datetime.now(UTC)
    assert 20 <= caught_up <= 20 + 2 * (int((now - through).total_seconds() // 60) + 1)


def test_the_quota_of_a_minute_holds_over_processes_and_a_lost_store(
    services: Services, unasked: tuple[Sandbox, dict[str, Any]]
) -> None:
    sandbox, there = unasked
    sandbox.fail("yahoo", "html-503")
    for number in range(4):
        with suppress(SourceError):
            stocks(services, stock_symbols=("AAPL", "MSFT", "GOOG", "IBM"), **there)
        if number == 1:
            redis.Redis.from_url(services.redis_url).flushall()
    totals = sandbox.totals()["alpha_vantage"]
    assert (totals["calls"], totals["calls_over_limit"]) == (5, 0)
