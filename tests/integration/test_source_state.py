"""Quotas, bans and probes on the real Redis and PostgreSQL, shared by gates that are like processes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from typing import cast

import psycopg
import pytest
import redis

from include.errors import Banned, BreakerOpen, QuotaExhausted, RateLimited, SourceError, Transient
from include.market.event import MICROSECONDS, Source
from include.producers.shared_gate import SharedGate
from include.settings import Settings
from include.sources.base import QUOTES, Declaration, RateRule
from include.sources.health import SUCCESSES_TO_CLOSE
from include.stack.control import Stack
from include.storage.source_postgres import PostgresSourceState
from include.storage.source_redis import RedisSourceState
from include.storage.source_state import SourceStore
from include.storage.source_switches import SourceSwitches
from tests.stores import Services

DAY = 86_400
NOW = time.time_ns() // 1_000 // (60 * MICROSECONDS) * 60 * MICROSECONDS + 30 * MICROSECONDS
DECLARATIONS = (
    Declaration(
        name="alpha_vantage",
        capabilities=(),
        rates=(RateRule("alpha_vantage_calls_per_minute", 60), RateRule("alpha_vantage_calls_per_day", DAY)),
    ),
    Declaration(name="binance", capabilities=(), rates=(RateRule("binance_weight_per_minute", 60),), unit="weight"),
)
SETTINGS = Settings(
    _env_file=None, alpha_vantage_calls_per_minute=5, alpha_vantage_calls_per_day=25, binance_weight_per_minute=1_000
)  # type: ignore[call-arg]


def make_gate(database_url: str, redis_url: str) -> SharedGate:
    return SharedGate(DECLARATIONS, SETTINGS, RedisSourceState(redis_url), PostgresSourceState(database_url))


@pytest.fixture
def gates(services: Services) -> Iterator[list[SharedGate]]:
    """Two that know nothing of each other, over stores without any memory."""
    with psycopg.connect(services.database_url, autocommit=True) as connection:
        connection.execute("TRUNCATE source_calls, source_health, source_switches")
    _redis(services).flushall()
    made = [make_gate(services.writer_database_url, services.redis_url) for _ in range(2)]
    yield made
    for gate in made:
        gate.close()


@contextmanager
def stopped(services: Services, name: str) -> Iterator[None]:
    stack = Stack(services.plan, lambda line: None)
    stack.supervisor.stop(name)
    try:
        yield
    finally:
        stack.restart(name)


def _redis(services: Services) -> redis.Redis:
    return redis.Redis.from_url(services.redis_url)


def rows(services: Services, source: str) -> int:
    with psycopg.connect(services.reader_database_url) as connection:
        found = connection.execute("SELECT sum(cost) FROM source_calls WHERE source = %s", (source,)).fetchone()
    return int((found or [0])[0] or 0)


def is_admitted(gate: SharedGate, source: str, now_us: int, cost: int = 1) -> bool:
    try:
        gate.admit(cast(Source, source), QUOTES, cost, now_us)
    except SourceError:
        return False
    return True


def weight_admitted_at_once(services: Services) -> int:
    """Binance's weight that eight gates get through together when they ask for more than there is."""
    many = [make_gate(services.writer_database_url, services.redis_url) for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        made = sum(pool.map(lambda ask: is_admitted(many[ask % 8], "binance", NOW, 50), range(8 * 5)))
    for gate in many:
        gate.close()
    return made * 50


def admitted_by_a_process(urls: tuple[str, str], source: str, tries: int, cost: int) -> int:
    """With a clock of its own, as a producer has it."""
    gate = make_gate(*urls)
    made = sum(is_admitted(gate, source, time.time_ns() // 1_000, cost) for _ in range(tries))
    gate.close()
    return made


def test_each_call_is_counted_in_both_stores_and_both_answer_alike(services: Services, gates: list[SharedGate]) -> None:
    stores: list[SourceStore] = [
        RedisSourceState(services.redis_url),
        PostgresSourceState(services.writer_database_url),
    ]
    for call in range(6):
        gates[call % 2].admit("binance", QUOTES, call + 1, NOW + call)
    for store in stores:
        with store.locked("binance"):
            assert sorted((call.at_us, call.cost) for call in store.calls("binance")) == [
                (NOW + call, call + 1) for call in range(6)
            ]
            # Newest first: six units of the last call, five of the one before...
            times = [store.unit_at("binance", newer) for newer in (0, 5, 6, 10, 11, 20, 21)]
            assert times == [NOW + 5, NOW + 5, NOW + 4, NOW + 4, NOW + 3, NOW, None]
            assert store.units_since("binance", NOW + 4) == 11
            assert store.units_since("binance", NOW + 4 + 1) == 6
        store.close()


def test_two_processes_at_once_are_never_over_together(services: Services, gates: list[SharedGate]) -> None:
    urls = services.writer_database_url, services.redis_url
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        calls = [pool.submit(admitted_by_a_process, urls, "binance", 40, 25) for _ in range(2)]
        made = [call.result(60) for call in calls]
    assert sum(made) == SETTINGS.binance_weight_per_minute // 25
    assert rows(services, "binance") == SETTINGS.binance_weight_per_minute


def test_threads_of_one_gate_share_it(gates: list[SharedGate]) -> None:
    with ThreadPoolExecutor(8) as pool:
        admitted = list(pool.map(lambda _: is_admitted(gates[0], "alpha_vantage", NOW), range(24)))
    assert sum(admitted) == 5


def test_a_flushed_redis_is_filled_again_before_anything_is_admitted(
    services: Services, gates: list[SharedGate]
) -> None:
    for call in range(5):
        gates[call % 2].admit("alpha_vantage", QUOTES, 1, NOW)
    gates[0].failed("binance", QUOTES, Banned("IP banned", until=NOW / MICROSECONDS + 7_200), NOW)
    _redis(services).flushall()
    with pytest.raises(RateLimited):
        gates[1].admit("alpha_vantage", QUOTES, 1, NOW + 1)
    with pytest.raises(Banned):
        gates[1].admit("binance", QUOTES, 1, NOW + 7_199 * MICROSECONDS)
    assert _redis(services).zcard("source:calls:alpha_vantage") == 5


def test_an_older_picture_of_redis_is_noticed(services: Services, gates: list[SharedGate]) -> None:
    client = _redis(services)
    gates[0].admit("alpha_vantage", QUOTES, 1, NOW)
    older = {key: client.dump(key) for key in (b"source:health:alpha_vantage", b"source:calls:alpha_vantage")}
    for _ in range(4):
        gates[0].admit("alpha_vantage", QUOTES, 1, NOW)
    for key, value in older.items():
        client.restore(key, 0, cast(bytes, value), replace=True)
    assert not is_admitted(gates[1], "alpha_vantage", NOW)


def test_without_redis_postgresql_decides_and_redis_catches_up(services: Services, gates: list[SharedGate]) -> None:
    gates[0].admit("binance", QUOTES, 100, NOW)
    with stopped(services, "redis"):
        assert weight_admitted_at_once(services) == 900
        with pytest.raises(RateLimited) as refused:
            gates[0].admit("binance", QUOTES, 1, NOW)
        assert refused.value.until == pytest.approx(NOW / MICROSECONDS + 65, abs=1e-3)
        gates[0].failed("alpha_vantage", QUOTES, QuotaExhausted("used up", until=NOW / MICROSECONDS + 900), NOW)
    assert not is_admitted(gates[1], "binance", NOW)
    assert _redis(services).zcard("source:calls:binance") == 1_000
    assert not is_admitted(gates[1], "alpha_vantage", NOW)


def test_without_postgresql_redis_decides_until_it_restarts(services: Services, gates: list[SharedGate]) -> None:
    gates[0].admit("binance", QUOTES, 100, NOW)
    with stopped(services, "postgres"):
        assert weight_admitted_at_once(services) == 900
        with stopped(services, "redis"), pytest.raises(Transient, match="neither Redis nor PostgreSQL"):
            gates[0].admit("binance", QUOTES, 1, NOW + 100 * MICROSECONDS)
        with pytest.raises(Transient, match="may have forgotten"):
            gates[0].admit("binance", QUOTES, 1, NOW + 100 * MICROSECONDS)
    # Redis was stopped in order, so it has kept what only it knew.
    assert not is_admitted(gates[1], "binance", NOW)
    assert rows(services, "binance") == 1_000
    assert is_admitted(gates[1], "binance", NOW + 100 * MICROSECONDS)


def test_a_restart_of_everything_forgets_nothing(services: Services, gates: list[SharedGate]) -> None:
    for call in range(25):
        gates[0].admit("alpha_vantage", QUOTES, 1, NOW + call * 20 * MICROSECONDS)
    with stopped(services, "redis"), stopped(services, "postgres"):
        pass
    again = make_gate(services.writer_database_url, services.redis_url)
    with pytest.raises(QuotaExhausted) as refused:
        again.admit("alpha_vantage", QUOTES, 1, NOW + 3_600 * MICROSECONDS)
    assert refused.value.until == pytest.approx(NOW / MICROSECONDS + DAY + 5, abs=1e-3)
    again.close()


def test_exactly_one_of_many_claims_the_probe(services: Services, gates: list[SharedGate]) -> None:
    gates[0].failed("binance", QUOTES, RateLimited("slow down", until=NOW / MICROSECONDS + 10), NOW)
    later = NOW + 10 * MICROSECONDS
    many = [make_gate(services.writer_database_url, services.redis_url) for _ in range(8)]
    for probe in range(SUCCESSES_TO_CLOSE):
        with ThreadPoolExecutor(8) as pool:
            claimed = list(pool.map(lambda gate: is_admitted(gate, "binance", later), many))
        assert sum(claimed) == 1, f"probe {probe}"
        with pytest.raises(BreakerOpen):
            gates[1].admit("binance", QUOTES, 1, later)
        many[claimed.index(True)].succeeded("binance", later)
    assert gates[1].health("binance").state == "closed"
    assert is_admitted(gates[0], "binance", later)
    assert is_admitted(gates[1], "binance", later)
    for gate in many:
        gate.close()


def test_what_the_source_says_was_used_counts_for_all(services: Services, gates: list[SharedGate]) -> None:
    gates[0].admit("binance", QUOTES, 40, NOW)
    gates[0].succeeded("binance", NOW, used=990)
    with pytest.raises(RateLimited):
        gates[1].admit("binance", QUOTES, 20, NOW + MICROSECONDS)
    gates[1].admit("binance", QUOTES, 10, NOW + MICROSECONDS)
    assert rows(services, "binance") == 1_000


def test_old_calls_are_purged_from_both_stores(services: Services, gates: list[SharedGate]) -> None:
    for day in range(6):
        gates[0].admit("alpha_vantage", QUOTES, 1, NOW + day * DAY * MICROSECONDS)
    assert rows(services, "alpha_vantage") == _redis(services).zcard("source:calls:alpha_vantage") == 2


def test_the_last_switch_holds_and_the_recent_ones_are_seen(services: Services, gates: list[SharedGate]) -> None:
    switches = SourceSwitches(services.writer_database_url)
    assert switches.active("stock", "bar60") is None
    switches.record("stock", "bar60", None, "yahoo", "first choice")
    with stopped(services, "postgres"), pytest.raises(psycopg.OperationalError):
        switches.active("stock", "bar60")
    switches.record("stock", "bar60", "yahoo", "alpha_vantage", "yahoo: banned")
    switches.record("crypto", "quote", None, "binance", "first choice")
    assert switches.active("stock", "bar60") == "alpha_vantage"
    assert [(switch.kind, switch.to_source) for switch in SourceSwitches(services.reader_database_url).recent(2)] == [
        ("quote", "binance"),
        ("bar60", "alpha_vantage"),
    ]
    switches.close()
