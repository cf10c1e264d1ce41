"""Each planted fault is found by the check that should find it, by name."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest

from include.errors import Unreachable
from include.operations.alerts import notify_quality
from include.quality import run
from include.quality.suites import load_suites
from include.storage.quality_store import Before, QualityStore, TopicEnd
from tests.integration.quality_world import COIN, END, LIQUID, World, clean_week, database, stream
from tests.stores import Services

SINCE = datetime(2025, 11, 28, tzinfo=UTC)
NOON = "2025-11-28 17:00+00"
EVENT = f"symbol = '{LIQUID}' AND event_time = '{NOON}'"
CANDLE = f"symbol = '{LIQUID}' AND interval = '1m' AND window_start = '{NOON}'"
NEXT_EVENT = f"symbol = '{LIQUID}' AND event_time = '{NOON}'::timestamptz + interval '1 minute'"
NEXT_CANDLE = f"symbol = '{LIQUID}' AND interval = '1m' AND window_start = '{NOON}'::timestamptz + interval '1 minute'"
#: The table itself refuses impossible figures; a check must not lean on that.
UNGUARDED = """
DO $$ DECLARE name text; BEGIN
    FOR name IN SELECT conname FROM pg_constraint
        WHERE conrelid = 'market.market_events'::regclass AND contype = 'c' LOOP
        EXECUTE format('ALTER TABLE market.market_events DROP CONSTRAINT %I', name);
    END LOOP;
END $$;
"""
FIGURES = "open, high, low, close, volume"


@dataclass(frozen=True)
class Fault:
    statements: tuple[str, ...]
    found_by: frozenset[str]


def fault(found_by: str, *statements: str) -> Fault:
    return Fault(statements, frozenset(found_by.split()))


def swapped(table: str, one: str, other: str) -> tuple[str, ...]:
    """The figures of two rows change places."""
    return (
        f"CREATE TEMP TABLE one AS SELECT {FIGURES} FROM {table} WHERE {one}",
        f"UPDATE {table} SET ({FIGURES}) = (SELECT {FIGURES} FROM {table} WHERE {other}) WHERE {one}",
        f"UPDATE {table} SET ({FIGURES}) = (SELECT {FIGURES} FROM one) WHERE {other}",
    )


FAULTS = {
    "a missing column": fault("candles_columns", "ALTER TABLE candles DROP COLUMN vwap"),
    "a new column": fault("indicators_columns", "ALTER TABLE indicators ADD COLUMN surprise int"),
    "a changed type": fault("candles_type_of_close", "ALTER TABLE candles ALTER COLUMN close TYPE double precision"),
    "a wider type": fault("candles_type_of_volume", "ALTER TABLE candles ALTER COLUMN volume TYPE numeric(30,10)"),
    "an event twice, at two times": fault(
        "market_events_ids_unique market_events_coordinates_unique ledger_equals_rows",
        f"INSERT INTO market_events SELECT * FROM market_events WHERE {EVENT}".replace(
            "SELECT *",
            "SELECT event_id, symbol, asset_class, source, kind, event_time + interval '1 hour', interval_seconds, "
            "open, high, low, close, volume, currency, ingested_at, kafka_partition, kafka_offset, revision",
        ),
    ),
    "a candle twice": fault(
        "candles_keys_unique",
        "ALTER TABLE candles DROP CONSTRAINT IF EXISTS candles_pkey",
        f"INSERT INTO candles SELECT * FROM candles WHERE {CANDLE}",
    ),
    "an event's price of -1": fault(
        "market_events_prices_positive", UNGUARDED, f"UPDATE market_events SET low = -1 WHERE {EVENT}"
    ),
    "an event's price of NaN": fault(
        "market_events_prices_finite", UNGUARDED, f"UPDATE market_events SET high = 'NaN' WHERE {EVENT}"
    ),
    "an event's close outside low and high": fault(
        "market_events_prices_ordered", UNGUARDED, f"UPDATE market_events SET close = high + 1 WHERE {EVENT}"
    ),
    "an event's volume of -1": fault(
        "market_events_volume_valid", UNGUARDED, f"UPDATE market_events SET volume = -1 WHERE {EVENT}"
    ),
    "a candle's price of -1": fault("candles_prices_positive", f"UPDATE candles SET low = -1 WHERE {CANDLE}"),
    "a candle's price of NaN": fault("candles_prices_finite", f"UPDATE candles SET high = 'NaN' WHERE {CANDLE}"),
    "an indicator of NaN": fault("indicators_finite", f"UPDATE indicators SET ema_12 = 'NaN' WHERE {CANDLE}"),
    "a deleted event": fault(
        "ledger_equals_rows ledger_equals_figures candles_equal_events", f"DELETE FROM market_events WHERE {EVENT}"
    ),
    "a deleted candle": fault("candles_equal_events indicators_follow_candles", f"DELETE FROM candles WHERE {CANDLE}"),
    "a deleted row of indicators": fault("indicators_follow_candles", f"DELETE FROM indicators WHERE {CANDLE}"),
    "a deleted batch": fault(
        "ledger_offsets_contiguous", "DELETE FROM stream_batches WHERE query_name = 'events_crypto' AND batch_id = 2"
    ),
    "an event's altered digit": fault(
        "ledger_equals_figures candles_equal_events",
        f"UPDATE market_events SET volume = volume + 0.00000001 WHERE {EVENT}",
    ),
    "a candle's altered digit": fault(
        "candles_equal_events", f"UPDATE candles SET close = close + 0.00000001, high = high + 1 WHERE {CANDLE}"
    ),
    "an indicator's altered digit": fault(
        "indicators_equal_closes", f"UPDATE indicators SET ema_26 = ema_26 * 1.0000001 WHERE {CANDLE}"
    ),
    "an indicator's altered deviation": fault(
        "indicators_equal_closes", f"UPDATE indicators SET volatility_20 = volatility_20 * 1.0000001 WHERE {CANDLE}"
    ),
    "an event's shifted time": fault(
        "ledger_equals_figures market_events_bars_aligned market_events_time_in_id",
        f"UPDATE market_events SET event_time = event_time + interval '1 microsecond' WHERE {EVENT}",
    ),
    "a candle's shifted time": fault(
        "candles_aligned candles_equal_events",
        f"UPDATE candles SET window_start = window_start + interval '1 second' WHERE {CANDLE}",
    ),
    "two events swapped": fault("ledger_equals_figures", *swapped("market_events", EVENT, NEXT_EVENT)),
    "two candles swapped": fault("candles_equal_events", *swapped("candles", CANDLE, NEXT_CANDLE)),
    "an event's Kafka offset changed": fault(
        "ledger_equals_rows", f"UPDATE market_events SET kafka_offset = kafka_offset + 100000 WHERE {EVENT}"
    ),
    "a low of 0.06": fault("market_events_wicks_plausible", f"UPDATE market_events SET low = 0.06 WHERE {EVENT}"),
    "a price a hundredfold": fault(
        "market_events_price_plausible market_events_level_steady",
        f"UPDATE market_events SET open = open * 100, high = high * 100, low = low * 100, close = close * 100 "
        f"WHERE {EVENT}",
    ),
    "a symbol that nobody knows": fault(
        "market_events_symbols_known", f"UPDATE market_events SET symbol = 'NOBODY' WHERE {EVENT}"
    ),
    "twenty minutes without a candle": fault(
        "symbol_completeness",
        f"DELETE FROM candles WHERE symbol = '{LIQUID}' AND window_start >= '{NOON}' "
        f"AND window_start < '{NOON}'::timestamptz + interval '20 minutes'",
    ),
    "an anomaly that is none": fault(
        "price_anomalies_severity price_anomalies_z_score",
        f"INSERT INTO price_anomalies SELECT symbol, interval, window_start, 'price', 1, 0, 1, 2, 'critical' "
        f"FROM candles WHERE {CANDLE}",
    ),
    "an anomaly without its candle": fault(
        "price_anomalies_have_candles",
        f"INSERT INTO price_anomalies VALUES ('{LIQUID}', '1m', '2025-11-28 03:00+00', 'price', 5, 0, 1, 5, 'high')",
    ),
    "a missing raw column": fault("market_events_columns", "ALTER TABLE market_events DROP COLUMN currency CASCADE"),
    "a missing column of anomalies": fault("price_anomalies_columns", "ALTER TABLE price_anomalies DROP COLUMN mean"),
    "a long wick": fault(
        "market_events_wicks_narrow", f"UPDATE market_events SET low = 0.6 * least(open, close) WHERE {EVENT}"
    ),
    "an event of tomorrow": fault(
        "market_events_not_ahead",
        f"UPDATE market_events SET ingested_at = event_time - interval '1 day' WHERE {EVENT}",
    ),
    "a candle's close outside low and high": fault(
        "candles_prices_ordered", f"UPDATE candles SET close = high + 1 WHERE {CANDLE}"
    ),
    "a candle's volume of -1": fault("candles_volume_valid", f"UPDATE candles SET volume = -1 WHERE {CANDLE}"),
    "a candle's average outside its prices": fault(
        "candles_vwap_within candles_equal_events", f"UPDATE candles SET vwap = high + 1 WHERE {CANDLE}"
    ),
    "an average's altered digit": fault(
        "candles_equal_events", f"UPDATE candles SET vwap = vwap + 0.000000000001 WHERE {CANDLE}"
    ),
    "a candle of tomorrow": fault(
        "candles_not_ahead", f"UPDATE candles SET updated_at = window_start - interval '1 day' WHERE {CANDLE}"
    ),
    "a candle that stays open": fault(
        "candles_closed",
        f"UPDATE candles SET is_final = false WHERE symbol = '{COIN}' AND window_start = '2025-11-28 01:00+00'",
    ),
    "indicators twice": fault(
        "indicators_keys_unique",
        "ALTER TABLE indicators DROP CONSTRAINT indicators_pkey",
        f"INSERT INTO indicators SELECT * FROM indicators WHERE {CANDLE}",
    ),
    "bands that cross": fault(
        "indicators_bands_ordered", f"UPDATE indicators SET bollinger_upper = bollinger_lower - 1 WHERE {CANDLE}"
    ),
    "an anomaly twice": fault(
        "price_anomalies_keys_unique",
        "ALTER TABLE price_anomalies DROP CONSTRAINT price_anomalies_pkey",
        *([f"INSERT INTO price_anomalies VALUES ('{LIQUID}', '1m', '{NOON}', 'price', 5, 0, 1, 5, 'high')"] * 2),
    ),
    "an anomaly of NaN": fault(
        "price_anomalies_finite",
        f"INSERT INTO price_anomalies VALUES ('{LIQUID}', '1m', '{NOON}', 'price', 5, 'NaN', 1, 5, 'high')",
    ),
    "an invented anomaly": fault(
        "price_anomalies_complete",
        f"INSERT INTO price_anomalies VALUES ('{LIQUID}', '1m', '{NOON}', 'volume', 5, 0, 1, 5, 'high')",
    ),
    "an extraordinary volume that nobody noted": fault(
        "price_anomalies_complete", f"UPDATE candles SET volume = volume * 1000000 WHERE {CANDLE}"
    ),
    "a record that became nothing": fault(
        "ledger_adds_up",
        "UPDATE stream_batches SET rows_repeated = -1 WHERE query_name = 'events_crypto' AND batch_id = 2",
    ),
    "a dead letter that is gone": fault(
        "ledger_equals_dead_letters",
        "UPDATE stream_batches SET rows_dead_lettered = 1 WHERE query_name = 'events_crypto' AND batch_id = 2",
    ),
    "a late event that is gone": fault(
        "ledger_equals_late_events",
        "UPDATE stream_batches SET rows_late = 1 WHERE query_name = 'events_crypto' AND batch_id = 2",
    ),
    "an extraordinary return that nobody noted": fault(
        "price_anomalies_complete",
        f"UPDATE indicators SET log_return = 0.5 WHERE {CANDLE}",
    ),
}

TABLES = ("market_events", "candles", "indicators", "price_anomalies", "stream_batches")


@pytest.fixture(scope="module")
def week(services: Services) -> Iterator[list[TopicEnd]]:
    with database(services, "quality_week") as world:
        yield stream(world, clean_week())


@pytest.fixture(scope="module")
def kept(services: Services, week: list[TopicEnd]) -> Iterator[World]:
    """A copy whose rows can be put back: a copy for each fault would take most of the time."""
    with database(services, "quality_copy", template="quality_week") as world:
        world.execute("CREATE SCHEMA kept")
        for table in TABLES:
            world.execute(f"CREATE TABLE kept.{table} AS SELECT * FROM {table}")
        yield world


@pytest.fixture
def copy(kept: World) -> Iterator[World]:
    yield kept
    with psycopg.connect(kept.owner_url) as connection:
        for table in TABLES:
            connection.execute(f"DELETE FROM {table}")
            connection.execute(f"INSERT INTO {table} SELECT * FROM kept.{table}")


@pytest.fixture
def planted(request: pytest.FixtureRequest, services: Services, week: list[TopicEnd]) -> Iterator[tuple[Fault, World]]:
    """The fault of this name, in a copy of its own where it changes the table itself."""
    fault = FAULTS[request.param]
    if any(" COLUMN " in statement or "_pkey" in statement for statement in fault.statements):
        with database(services, "quality_altered", template="quality_week") as world:
            yield fault, world
    else:
        yield fault, request.getfixturevalue("copy")


@pytest.mark.parametrize("planted", FAULTS, indirect=True)
def test_the_fault_is_found_by_name(planted: tuple[Fault, World], week: list[TopicEnd], tmp_path: Path) -> None:
    fault, world = planted
    world.execute(";\n".join(fault.statements))
    suites = [suite.name for suite in load_suites() if fault.found_by & {check.name for check in suite.checks}]
    report = world.check(tmp_path, SINCE, END, ends=week, suites=suites)
    failed = {each.check_name for each in report.checks if not each.passed}
    assert fault.found_by <= failed, f"found instead: {sorted(failed)}"
    for each in report.checks:
        if each.check_name in fault.found_by and each.failing_rows:
            assert each.failing_keys, f"{each.check_name} does not say which rows"


def test_a_dead_stock_is_not_hidden_by_a_live_coin(copy: World, tmp_path: Path) -> None:
    """It stops at 16:00 in its session; at 17:00 everything else is fresh."""
    gone = f"symbol = '{LIQUID}' AND {{}} >= '2025-11-28 16:00+00'"
    copy.execute(f"DELETE FROM market_events WHERE {gone.format('event_time')}")
    copy.execute(f"DELETE FROM candles WHERE {gone.format('window_start')}")
    at = datetime(2025, 11, 28, 17, tzinfo=UTC)
    report = copy.check(tmp_path, SINCE, at, suites=["symbol_freshness"])
    assert {each.symbol: each.passed for each in report.results if each.symbol} == {
        "AAPL": False, "IBM": True, "BTC-USD": True,
    }  # fmt: skip
    stale = next(each for each in report.results if each.symbol == LIQUID)
    assert stale.observed == "last event 2025-11-28 16:00:00, 1 h 0 min of trading ago"
    assert stale.expected == "at most 5 min while its market is open"
    # After the close no trading time is added; it is still the hour and the half that it missed.
    later = copy.check(tmp_path, SINCE, END, suites=["symbol_freshness"], run_id="later")
    assert next(each for each in later.results if each.symbol == LIQUID).measured == 2 * 3600


def test_records_that_the_stream_has_not_read_are_found(
    copy: World, week: list[TopicEnd], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "STREAM_SECONDS", 1.0)
    ahead = [replace(week[0], end=week[0].end + 3), *week[1:]]
    report = copy.check(tmp_path, SINCE, END, ends=ahead, suites=["stream_batches"])
    failed = [each for each in report.checks if not each.passed]
    assert [each.check_name for each in failed] == ["ledger_equals_kafka"]
    assert failed[0].failing_keys[0]["topic"] == week[0].topic


def test_without_kafka_everything_else_is_checked(copy: World, tmp_path: Path) -> None:
    def away() -> Iterator[TopicEnd]:
        raise Unreachable("Kafka does not answer: no broker")
        yield

    report = copy.check(tmp_path, SINCE, END, ends=away(), suites=["stream_batches", "candles"])
    failed = [each for each in report.checks if not each.passed]
    assert [(each.check_name, each.observed) for each in failed] == [
        ("ledger_equals_kafka", "could not be checked: Kafka does not answer: no broker")
    ]
    assert len(report.checks) > 20


def test_a_run_knows_what_came_since_the_last_one_and_where_a_fault_lies(copy: World, tmp_path: Path) -> None:
    suites = ["price_anomalies"]
    copy.execute("UPDATE stream_batches SET min_event_time = NULL")
    with QualityStore(copy.checker_url) as store:
        assert store.before(suites) == Before()
        copy.check(tmp_path, SINCE, END, suites=suites)
        assert store.before(suites) == Before(END)
        assert store.before([*suites, "candles"]) == Before()
        old = SINCE - timedelta(days=3)
        copy.execute("UPDATE stream_batches SET committed_at = %s, min_event_time = %s WHERE batch_id = 1", END, old)
        assert store.before(suites) == Before(END, old)
        copy.execute(f"INSERT INTO price_anomalies VALUES ('{LIQUID}', '1m', '{NOON}', 'price', 5, 0, 1, 9, 'high')")
        found = copy.check(tmp_path, SINCE, END, suites=suites, run_id="found")
        notify_quality(copy.checker_url, "found", {each.check_name: "" for each in found.failed("critical")}, "")
        copy.execute("TRUNCATE price_anomalies")
        later = SINCE + timedelta(hours=20)
        passed = copy.check(tmp_path, later, END, suites=suites, run_id="looked at less")
        assert passed.failed("critical") == []
        assert notify_quality(copy.checker_url, "looked at less", {}, "")["resolved"] == 0
        assert store.before(suites).oldest_fault == SINCE
