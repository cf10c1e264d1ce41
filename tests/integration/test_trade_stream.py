"""The trade stream as a process, on real Kafka and PostgreSQL and the sandbox's websocket and REST."""

from __future__ import annotations

import os
import signal
from collections import defaultdict
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx2
import psycopg
import pytest
from confluent_kafka import Consumer

from include.market import topics
from include.market.coverage import MINUTE_US, Coverage
from include.market.event import MarketEvent, decode
from include.operations.own_processes import look
from include.operations.stream import TRADE_STREAM, Launched, Supervision, opened_store
from include.operations.supervision import Process
from include.operators.detached import launch_module
from include.operators.trade_stream import MODULE
from include.storage.lease import process_started, read_stream_state
from include.storage.trade_coverage import APPLICATION, PostgresCoverage, PostgresTradedMinutes
from tests.stores import Services
from tests.waiting import wait_until

PAIRS = {"BTC-USD": "BTCUSDT", "ETH-USD": "ETHUSDT"}


@pytest.fixture
def supervised(services: Services, tmp_path: Path) -> Iterator[Supervision]:
    """Starts the stream as the DAG does; ends all that were started."""
    _forget(services)
    processes: list[int] = []
    further = services.environment | {"CRYPTO_STREAMING": "true", "CRYPTO_SYMBOLS": ",".join(PAIRS)}

    def launch(_rebuild: bool) -> Launched:
        launched = launch_module(MODULE, tmp_path / "trades.log", further)
        assert launched.pid is not None
        processes.append(launched.pid)
        return launched

    with opened_store(services.writer_database_url, TRADE_STREAM) as store:
        yield Supervision(TRADE_STREAM, store, launch)
    for pid in processes:
        if look(pid, process_started(pid)) is Process.ALIVE:
            os.kill(pid, signal.SIGKILL)
    _forget(services)


def running(supervised: Supervision) -> dict[str, Any]:
    """Step by step, as the DAG's runs, until it runs."""

    def runs() -> dict[str, Any] | None:
        told = supervised.step()
        return told if told["state"] == "running" else None

    return wait_until(runs, seconds=60, what="a running trade stream")


@pytest.mark.timeout(420)
def test_trades_are_whole_after_a_kill_and_make_the_candles_of_their_minutes(
    services: Services, supervised: Supervision
) -> None:
    database = services.writer_database_url
    report = running(supervised)
    begun = wait_until(lambda: _coverage(services), seconds=10, what="coverage of both symbols")
    assert all(row.covered_from == row.covered_through for row in begun.values())
    first_us = max(row.covered_from for row in begun.values())
    wait_until(lambda: _trades(services), seconds=75, what="trades in Kafka")
    assert read_stream_state(database, APPLICATION).details["state"] == "streaming"  # type: ignore[union-attr]

    os.kill(report["pid"], signal.SIGKILL)
    minutes = PostgresTradedMinutes(services.reader_database_url)
    assert minutes.first_free("BTC-USD", first_us) is None, "alive, as far as anyone knows"
    wait_until(
        lambda: not read_stream_state(database, APPLICATION).is_alive,  # type: ignore[union-attr]
        seconds=30,
        what="the end of the lease",
    )
    free = PostgresTradedMinutes(services.reader_database_url).first_free("BTC-USD", first_us)
    assert free is not None
    assert free > first_us + MINUTE_US, "the begun minute is not the bars'"

    assert running(supervised)["epoch"] == report["epoch"] + 1

    def covered() -> dict[str, Coverage] | None:
        held = _coverage(services)
        return held if all(row.covered_through > first_us for row in held.values()) else None

    held = wait_until(covered, seconds=100, what="a covered minute")
    assert {symbol: row.covered_from for symbol, row in held.items()} == {
        symbol: row.covered_from for symbol, row in begun.items()
    }
    _check_trades_are_the_venues(services, held)

    assert supervised.stop("the test is over")
    assert not read_stream_state(database, APPLICATION).is_alive  # type: ignore[union-attr]
    newest = supervised.store.read().starts[0]
    assert (newest.outcome, newest.reason) == ("stopped", "the test is over")
    assert not supervised.stop("there is none")


def _check_trades_are_the_venues(services: Services, held: dict[str, Coverage]) -> None:
    found: dict[str, dict[int, MarketEvent]] = defaultdict(dict)
    for event in _trades(services):
        trade_id = int(event.event_id.rpartition(":")[2])
        again = found[event.symbol].setdefault(trade_id, event)
        assert (again.open, again.volume, again.event_time) == (event.open, event.volume, event.event_time)
    for symbol, row in held.items():
        ids = sorted(found[symbol])
        assert ids == list(range(ids[0], ids[-1] + 1)), f"{symbol}: ids are missing"
        for kline in _klines(services, PAIRS[symbol], row.covered_from, row.covered_through):
            trades = [found[symbol][i] for i in ids if 0 <= found[symbol][i].event_time - kline[0] * 1_000 < MINUTE_US]
            prices = [trade.close for trade in trades]
            volume = sum((trade.volume or Decimal(0) for trade in trades), Decimal(0))
            figures = (prices[0], max(prices), min(prices), prices[-1], volume)
            assert figures == tuple(map(Decimal, kline[1:6]))


def test_coverage_is_not_stored_for_a_stream_that_lost_its_lease(services: Services) -> None:
    from include.errors import LeaseLost
    from include.storage.lease import Lease

    _forget(services)
    first, second = (Lease(services.writer_database_url, APPLICATION) for _ in range(2))
    store = PostgresCoverage(services.writer_database_url, "binance", first.acquire("frozen", 1))
    row = Coverage("BTC-USD", 60_000_000, 120_000_000, 7)
    store.save([row])
    assert store.newest() == {"BTC-USD": row}
    second.acquire("successor", 2, stale_after_seconds=0)
    with pytest.raises(LeaseLost):
        store.save([Coverage("BTC-USD", 60_000_000, 180_000_000, 8)])
    assert store.newest() == {"BTC-USD": row}
    for part in (store, first, second):
        part.close()
    _forget(services)


def _coverage(services: Services) -> dict[str, Coverage]:
    """Both symbols' newest, or none."""
    store = PostgresCoverage(services.writer_database_url, "binance", 0)
    held = dict(store.newest())
    store.close()
    return held if held.keys() == PAIRS.keys() else {}


def _trades(services: Services) -> list[MarketEvent]:
    """All trades that Kafka has, in its order."""
    consumer = Consumer(
        {
            "bootstrap.servers": services.kafka_bootstrap_servers,
            "group.id": f"look-{uuid4()}",
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
        }
    )
    topic = topics.EVENTS["crypto"]
    open_ends = set(consumer.list_topics(topic, timeout=10).topics[topic].partitions)
    consumer.subscribe([topic])
    found = []
    while open_ends:
        message = consumer.poll(10)
        assert message is not None, "Kafka does not answer"
        if message.error() is not None:
            open_ends.discard(message.partition())
        else:
            found.append(decode(message.value()))
    consumer.close()
    return [event for event in found if event.kind == "trade"]


def _klines(services: Services, pair: str, start_us: int, end_us: int) -> list[list[Any]]:
    base = str(services.settings.binance_base_url).rstrip("/")
    params: dict[str, str | int] = {"symbol": pair, "interval": "1m"}
    params |= {"startTime": start_us // 1_000, "endTime": end_us // 1_000 - 1}
    rows: list[list[Any]] = httpx2.get(f"{base}/api/v3/klines", params=params).json()
    assert len(rows) == (end_us - start_us) // MINUTE_US
    return rows


def _forget(services: Services) -> None:
    with psycopg.connect(services.database_url, autocommit=True) as connection:
        for table in ("trade_coverage", "stream_lease", "stream_fence", "stream_starts"):
            connection.execute(f"DELETE FROM {table}")
