"""The schema on the real server: step by step up and down, one market a database, and a stream that is not held up."""

from __future__ import annotations

import getpass
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from datetime import UTC, date, datetime
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy.exc import DatabaseError, DataError

from include.errors import MarketDataError, MarketMismatch
from include.stack.postgres import binary
from include.storage import migrate
from tests.integration.archive_days import COLD_DAY
from tests.stores import Services
from tests.trial_database import trial_database
from tests.trial_revisions import Trials, trial_revisions
from tests.waiting import wait_until


@pytest.fixture
def empty_database(services: Services) -> Iterator[str]:
    with trial_database(services) as url:
        yield url


@pytest.fixture
def trials(tmp_path: Path) -> Iterator[Trials]:
    with trial_revisions(tmp_path) as made:
        yield made


def rows(database_url: str, statement: str, *values: object) -> list[tuple[Any, ...]]:
    with psycopg.connect(database_url) as connection:
        return connection.execute(statement, values or None).fetchall()


def tables(database_url: str) -> set[str]:
    return {name for (name,) in rows(database_url, "SELECT tablename FROM pg_tables WHERE schemaname = 'market'")}


def schema(database_url: str) -> list[str]:
    """All that pg_dump tells of it, rights included, and what the sessions of roles begin with here."""
    command = [str(binary("pg_dump")), "--schema-only", "--schema=market", database_url]
    dumped = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    settings = rows(
        database_url,
        "SELECT setrole::regrole::text, setconfig FROM pg_db_role_setting WHERE setrole <> 0 AND setdatabase = "
        "(SELECT oid FROM pg_database WHERE datname = current_database()) ORDER BY 1",
    )
    # A dump guards itself with a word of chance.
    lines = [line for line in dumped.splitlines() if not line.startswith(("\\restrict", "\\unrestrict"))]
    return lines + [str(each) for each in settings]


def test_each_step_up_down_and_up_again_ends_where_it_was(empty_database: str) -> None:
    everything = migrate.pending(empty_database)
    below = "base"
    for revision in everything:
        before = schema(empty_database) if below != "base" else None
        assert migrate.upgrade(empty_database, "sandbox", revision) == [revision]
        after = schema(empty_database)
        assert migrate.downgrade(empty_database, below) == [revision]
        assert before in (None, schema(empty_database)), f"{revision} down leaves something, or takes too much"
        migrate.upgrade(empty_database, "sandbox", revision)
        assert schema(empty_database) == after, f"{revision} is another one the second time"
        below = revision
    assert migrate.pending(empty_database) == []


def test_all_the_way_down_leaves_nothing_and_up_again_all(empty_database: str) -> None:
    migrate.upgrade(empty_database, "sandbox")
    whole = schema(empty_database)
    assert migrate.downgrade(empty_database, "base")[-1] == "0001"
    assert tables(empty_database) == {migrate.VERSION_TABLE}
    migrate.upgrade(empty_database, "sandbox")
    assert schema(empty_database) == whole


@pytest.mark.parametrize(
    ("planted", "bound", "says"),
    [
        (
            COLD_DAY,
            ("2025-11-28",),
            "only in the archive would be lost.*archive restore",
        ),
        (
            "INSERT INTO market.quarantined_events (event_id, revision, event_time, symbol, asset_class, check_name, "
            "reason) VALUES ('a', 0, now(), 'A', 'stock', 'a check', %s)",
            ("why",),
            "in quarantine would be lost",
        ),
    ],
)
def test_no_way_down_loses_what_stands_nowhere_else(
    empty_database: str, planted: str, bound: tuple[str], says: str
) -> None:
    migrate.upgrade(empty_database, "sandbox")
    with psycopg.connect(empty_database, autocommit=True) as connection:
        connection.execute(planted, bound)
    with pytest.raises(DatabaseError, match=says):
        migrate.downgrade(empty_database, "0004")
    assert migrate.pending(empty_database) == ["0006", "0007", "0008", "0009", "0010", "0011", "0012"]


def test_watermarks_of_minute_bars_survive_the_change_of_their_name(empty_database: str) -> None:
    migrate.upgrade(empty_database, "sandbox", "0001")
    with psycopg.connect(empty_database, autocommit=True) as connection:

        def kinds() -> list[str]:
            found = connection.execute("SELECT kind FROM market.ingestion_watermarks ORDER BY kind").fetchall()
            return [kind for (kind,) in found]

        connection.execute(
            "INSERT INTO market.ingestion_watermarks (source, kind, symbol, published_through) "
            "VALUES ('yahoo', 'bar', 'AAPL', now()), ('yahoo', 'quote', 'AAPL', now())"
        )
        migrate.upgrade(empty_database, "sandbox")
        assert kinds() == ["bar60", "quote"]
        migrate.downgrade(empty_database, "0001")
        assert kinds() == ["bar", "quote"]


def test_the_pending_sql_is_all_that_is_run(empty_database: str, services: Services) -> None:
    """Shown, it changes nothing; run by psql, it makes the very schema that `upgrade` makes."""
    shown = migrate.pending_sql(empty_database, "sandbox")
    assert tables(empty_database) == set()
    with trial_database(services, "by_hand") as by_hand:
        command = [str(binary("psql")), "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", by_hand]
        subprocess.run(command, input=shown, text=True, check=True)
        migrate.upgrade(empty_database, "sandbox")
        assert schema(by_hand) == schema(empty_database)
        assert migrate.pending(by_hand) == []
        assert rows(by_hand, "SELECT market FROM market.platform") == [("sandbox",)]
    assert migrate.pending_sql(empty_database, "sandbox") == ""


def test_two_migrators_at_once_apply_each_revision_once(empty_database: str) -> None:
    # In processes, as it happens: Alembic keeps its context in module globals.
    everything = migrate.pending(empty_database)
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        applied = list(pool.map(migrate.upgrade, [empty_database] * 2, ["sandbox"] * 2))
    assert sorted(applied) == [[], everything]
    assert migrate.pending(empty_database) == []


def test_a_database_of_another_market_is_refused(empty_database: str) -> None:
    migrate.upgrade(empty_database, "sandbox")
    with pytest.raises(MarketMismatch, match="belongs to MARKET=sandbox, not live"):
        migrate.upgrade(empty_database, "live")


def test_a_schema_newer_than_the_program_is_named(empty_database: str, tmp_path: Path) -> None:
    with trial_revisions(tmp_path) as trials:
        trial = trials.add(["SELECT 1"])
        migrate.upgrade(empty_database, "sandbox")
    with pytest.raises(MarketDataError, match=f"at revision {trial}, which this version does not know"):
        migrate.pending(empty_database)


CHANGES = "SELECT revision, direction, applied_by, applied_via FROM market.schema_changes ORDER BY id"


def test_who_changed_the_schema_when_and_how_is_written_down(empty_database: str, trials: Trials) -> None:
    began = datetime.now(UTC)
    migrate.upgrade(empty_database, "sandbox", "0004", via="./pipeline up")
    # The table for it comes with 0005: what was applied before is not written down, 0005 itself is.
    migrate.upgrade(empty_database, "sandbox", trials.head, via="./pipeline up")
    assert migrate.pending(empty_database) == []
    written = rows(empty_database, CHANGES)
    assert [row[0] for row in written][:2] == ["0005", "0006"]
    assert {row[1:] for row in written} == {("up", getpass.getuser(), "./pipeline up")}

    trial = trials.add(["SELECT pg_sleep(0.3)"])
    migrate.upgrade(empty_database, "sandbox", by="anna, approved by ben", via="migrate_schema, run 7")
    migrate.downgrade(empty_database, trials.head, by="ben", via="python")
    assert rows(empty_database, CHANGES)[len(written) :] == [
        (trial, "up", "anna, approved by ben", "migrate_schema, run 7"),
        (trial, "down", "ben", "python"),
    ]
    spans = rows(empty_database, "SELECT applied_at, seconds FROM market.schema_changes ORDER BY id")
    assert all(began <= at <= datetime.now(UTC) for at, _ in spans)
    assert 0.3 <= spans[-2][1] < 5 > spans[-1][1]

    migrate.downgrade(empty_database, "0004")
    migrate.upgrade(empty_database, "sandbox", "0005")
    assert [row[0] for row in rows(empty_database, CHANGES)] == ["0005"]


def test_a_failing_migration_leaves_the_old_schema_whole(empty_database: str, trials: Trials) -> None:
    migrate.upgrade(empty_database, "sandbox")
    before, written = schema(empty_database), rows(empty_database, CHANGES)
    table = "ALTER TABLE market.candles"
    good = trials.add([f"{table} ADD COLUMN first_trial int"], [f"{table} DROP COLUMN first_trial"])
    trials.add([f"{table} ADD COLUMN second_trial int", "SELECT 1 / 0"])
    with pytest.raises(DataError, match="division by zero"):
        migrate.upgrade(empty_database, "sandbox")
    # The one before it is a change of its own, and stands.
    assert [row[0] for row in rows(empty_database, CHANGES)[len(written) :]] == [good]
    assert not any("second_trial" in line for line in schema(empty_database))
    migrate.downgrade(empty_database, trials.head)
    assert schema(empty_database) == before


ADD_COLUMN = ("ALTER TABLE market.candles ADD COLUMN trial int",)
LOOK = "SELECT count(*) FROM market.candles"


def test_a_migration_that_gets_no_lock_gives_way_and_comes_again(
    empty_database: str, trials: Trials, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody reads for long; who comes after the migration waits for its try to end, and no longer."""
    monkeypatch.setattr(migrate, "LOCK_SECONDS", 0.5)
    migrate.upgrade(empty_database, "sandbox")
    trials.add(ADD_COLUMN)
    waited: list[float] = []
    with (
        ThreadPoolExecutor(1) as pool,
        psycopg.connect(empty_database) as reader,
        psycopg.connect(empty_database, autocommit=True, options="-c statement_timeout=5s") as other,
    ):
        reader.execute(LOOK)
        migration = pool.submit(migrate.upgrade, empty_database, "sandbox")
        waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%trial int%'"
        wait_until(lambda: other.execute(waiting).fetchone() == (1,), seconds=30, what="the migration at its lock")
        for _ in range(3):
            began = time.monotonic()
            other.execute(LOOK)
            waited.append(time.monotonic() - began)
            wait_until(lambda: other.execute(waiting).fetchone() == (1,), seconds=30, what="its next try")
        assert not migration.done()
        reader.rollback()
        assert migration.result(30) == [trials._newest()]
    assert max(waited) > 0.05, "it did stand in the way"
    assert max(waited) < 1.0
    assert rows(empty_database, "SELECT trial FROM market.candles") == []


def test_a_lock_that_is_never_to_be_had_ends_in_words(
    empty_database: str, trials: Trials, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrate, "LOCK_SECONDS", 0.2)
    monkeypatch.setattr(migrate, "LOCK_ATTEMPTS", 2)
    migrate.upgrade(empty_database, "sandbox")
    trial = trials.add(ADD_COLUMN)
    with psycopg.connect(empty_database) as reader:
        reader.execute(LOOK)
        with pytest.raises(MarketDataError, match="no lock in 2 tries .* changed nothing: look in pg_stat_activity"):
            migrate.upgrade(empty_database, "sandbox")
        assert migrate.pending(empty_database) == [trial]


def test_a_migration_waits_for_another_migrator_longer_than_for_a_lock(
    empty_database: str, trials: Trials, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrate, "LOCK_SECONDS", 0.2)
    monkeypatch.setattr(migrate, "LOCK_ATTEMPTS", 1)
    with psycopg.connect(empty_database) as other:
        other.execute("SELECT pg_advisory_lock(%s)", (migrate.ADVISORY_LOCK,))
        threading.Timer(1.0, other.execute, ["SELECT pg_advisory_unlock_all()"]).start()
        began = time.monotonic()
        assert migrate.upgrade(empty_database, "sandbox")
    assert time.monotonic() - began > 1.0


def test_partitions_are_made_once_by_two_writers_at_once(services: Services) -> None:
    days = [date(2001, 1, day) for day in range(1, 29)]

    def ensure(_: int) -> None:
        with psycopg.connect(services.writer_database_url) as connection:
            connection.execute("SELECT market.ensure_event_partitions(%s)", (days,))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(ensure, range(4)))
    assert {f"market_events_p{day:%Y%m%d}" for day in days} <= tables(services.database_url)


@pytest.mark.parametrize("price", ["NaN", "0", "-1"])
def test_the_table_itself_refuses_impossible_prices(services: Services, price: str) -> None:
    time = datetime(2001, 1, 1, tzinfo=UTC)
    with (
        psycopg.connect(services.writer_database_url) as connection,
        pytest.raises(psycopg.errors.CheckViolation),
    ):
        connection.execute(
            "INSERT INTO market_events (event_id, symbol, asset_class, source, kind, event_time, "
            "interval_seconds, open, high, low, close, currency, ingested_at) "
            "VALUES ('x', 'X', 'stock', 'yahoo', 'quote', %s, 0, %s, %s, %s, %s, 'USD', %s)",
            (time, price, price, price, price, time),
        )
