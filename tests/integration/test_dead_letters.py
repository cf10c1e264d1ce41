"""Dead letters of both kinds on the real broker and database: listed, judged again, published, once."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from include.market.event import MICROSECONDS, decode, encode
from include.producers.letters import MAX_RAW_BYTES
from include.producers.publisher import KafkaPublisher
from include.producers.spool import MemorySpool
from include.settings import PROJECT_ROOT
from include.sources.base import Rejected
from include.storage.database import libpq_url
from tests.integration.test_publisher import STOCKS, Topic
from tests.stores import Services
from tests.unit.producers.test_letter_replay import KLINE, MINUTE
from tests.unit.producers.told import a_bar

REASON = "planted for this test"


@pytest.fixture
def run(services: Services) -> Any:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", "from include.commands.dead_letters import app; app()", *arguments]
        return subprocess.run(
            command, cwd=PROJECT_ROOT, env=services.environment, capture_output=True, text=True, timeout=120
        )

    return run


@pytest.fixture
def planted(services: Services) -> Iterator[None]:
    """Two events that came too early (one refused by a producer, one by the stream), a good row that an old
    parser refused, and the beginning of a body that was too long."""
    now_us = time.time_ns() // 1_000
    publisher = KafkaPublisher(services.kafka_bootstrap_servers, MemorySpool())
    early = encode(a_bar("AAPL", start=MINUTE))
    publisher.dead_letter(Rejected(early, REASON, "yahoo", "AAPL"), now_us)
    publisher.dead_letter(Rejected(KLINE, REASON, "binance", "BTC-USD", "bar60"), now_us + MICROSECONDS)
    huge = Rejected(b"[" * (MAX_RAW_BYTES + 1), REASON, "binance", "ETH-USD", "bar60")
    publisher.dead_letter(huge, now_us + 2 * MICROSECONDS)
    assert publisher.confirm().delivered == 3
    publisher.close()
    with psycopg.connect(libpq_url(services.database_url), autocommit=True) as database:
        database.execute("DELETE FROM dead_letters WHERE reason = %s", (REASON,))
        database.execute(
            "INSERT INTO dead_letters (topic, kafka_partition, kafka_offset, symbol, source, reason, payload, "
            "received_at) VALUES (%s, 0, 900000000, 'IBM', 'yahoo', %s, %s, now() + interval '3 seconds')",
            (STOCKS, REASON, encode(a_bar("IBM", start=MINUTE))),
        )
        yield
        database.execute("DELETE FROM dead_letters WHERE reason = %s", (REASON,))


def test_letters_are_listed_shown_and_replayed_once(services: Services, planted: None, run: Any) -> None:
    stocks = Topic(services.kafka_bootstrap_servers, STOCKS)
    crypto = Topic(services.kafka_bootstrap_servers, "market.crypto.events.v1")

    found = json.loads(run("list", "--reason", "PLANTED", "--json").stdout)
    assert [(letter["symbol"], letter["asked_for"]) for letter in found] == [
        ("IBM", "event"),
        ("ETH-USD", "bar60"),
        ("BTC-USD", "bar60"),
        ("AAPL", "event"),
    ]
    only = json.loads(run("list", "--reason", REASON, "--symbol", "AAPL", "--limit", "1", "--json").stdout)
    assert only == found[3:]
    shown = json.loads(run("show", found[2]["id"]).stdout)
    assert shown["raw"] == KLINE.decode()

    dry = run("replay", "--reason", REASON, "--dry-run")
    assert "3 events would be published" in dry.stderr
    assert stocks.arrived() + crypto.arrived() == 0

    real = run("replay", "--reason", REASON)
    assert "4 dead letters read, 3 events published" in real.stderr, real.stderr
    assert f"only {MAX_RAW_BYTES} of {MAX_RAW_BYTES + 1} bytes were kept" in real.stdout
    ids = {decode(value).event_id for value in (*stocks.values(), *crypto.values())}
    assert ids == {f"yahoo:{symbol}:bar60:{MINUTE}" for symbol in ("AAPL", "IBM")} | {f"binance:BTC-USD:bar60:{MINUTE}"}

    again = run("replay", "--reason", REASON)
    assert "4 dead letters read, 0 events published" in again.stderr
    assert stocks.arrived() + crypto.arrived() == 3
    listed = json.loads(run("list", "--reason", REASON, "--json").stdout)
    outcomes = {letter["symbol"]: letter["outcome"] for letter in listed}
    assert outcomes["AAPL"] == outcomes["IBM"] == "published 1 event"
    assert outcomes["ETH-USD"].startswith("still bad: only")
    forced = run("replay", found[0]["id"], "--force")
    assert "1 dead letter read, 1 event published" in forced.stderr
    stocks.close()
    crypto.close()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("show", "nonsense"), "nonsense is no dead letter's id"),
        (("show", "market.events.dlq.v1/0/999999999"), "there is no dead letter"),
        (("show", f"{STOCKS}/0/1"), "there is no dead letter"),
        (("replay",), "name letters by id"),
    ],
)
def test_what_a_person_did_wrong_is_one_line(run: Any, arguments: tuple[str, ...], says: str) -> None:
    failed = run(*arguments)
    assert (failed.returncode, failed.stdout) == (1, "")
    assert says in failed.stderr
    assert failed.stderr.count("\n") == 1
