"""The schema on the real server: up, down and up again, one market a database, least privilege."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from datetime import UTC, date, datetime
from multiprocessing import get_context

import psycopg
import pytest
from psycopg.sql import SQL, Identifier

from include.errors import MarketMismatch
from include.stack.postgres import admin_url
from include.storage import migrate
from tests.stores import Services


@pytest.fixture
def empty_database(services: Services) -> Iterator[str]:
    """A database of its own on the running server, owned like the real one."""
    name = Identifier("migration_trial")
    with psycopg.connect(admin_url(services.plan), autocommit=True) as admin:
        admin.execute(SQL("CREATE DATABASE {} OWNER dataeng").format(name))
        yield services.database_url.replace("/financial_data", "/migration_trial")
        admin.execute(SQL("DROP DATABASE {} WITH (FORCE)").format(name))


def tables(database_url: str) -> set[str]:
    with psycopg.connect(database_url) as connection:
        rows = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'market'").fetchall()
    return {row[0] for row in rows}


def test_up_down_up_ends_where_it_began(empty_database: str) -> None:
    everything = migrate.pending(empty_database)
    assert migrate.upgrade(empty_database, "sandbox") == everything
    first = tables(empty_database)
    assert {"market_events", "candles", "stream_batches", "dead_letters", "late_events"} <= first
    assert migrate.pending(empty_database) == []
    migrate.downgrade(empty_database, "base")
    assert tables(empty_database) == {migrate.VERSION_TABLE}
    migrate.upgrade(empty_database, "sandbox")
    assert tables(empty_database) == first


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


def test_the_pending_sql_is_shown_and_changes_nothing(empty_database: str) -> None:
    shown = migrate.pending_sql(empty_database, "sandbox")
    assert "CREATE TABLE market.market_events" in shown
    assert tables(empty_database) == set()


def test_two_migrators_at_once_apply_each_revision_once(empty_database: str) -> None:
    # In processes, as it happens: Alembic keeps its context in module globals.
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        list(pool.map(migrate.upgrade, [empty_database] * 2, ["sandbox"] * 2))
    assert migrate.pending(empty_database) == []


def test_a_database_of_another_market_is_refused(empty_database: str) -> None:
    migrate.upgrade(empty_database, "sandbox")
    with pytest.raises(MarketMismatch, match="belongs to MARKET=sandbox, not live"):
        migrate.upgrade(empty_database, "live")


def test_partitions_are_made_once_by_two_writers_at_once(services: Services) -> None:
    days = [date(2001, 1, day) for day in range(1, 29)]

    def ensure(_: int) -> None:
        with psycopg.connect(services.writer_database_url) as connection:
            connection.execute("SELECT market.ensure_event_partitions(%s)", (days,))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(ensure, range(4)))
    assert {f"market_events_p{day:%Y%m%d}" for day in days} <= tables(services.database_url)


READ_ONLY = ("pipeline_reader", "pipeline_checker")
#: What the writer may do beside SELECT; everything else is refused.
WRITER_MAY = {
    "market_events": {"INSERT"},
    "dead_letters": {"INSERT"},
    "late_events": {"INSERT"},
    "stream_batches": {"INSERT"},
    "candles": {"INSERT", "UPDATE"},
    "stream_lease": {"INSERT", "UPDATE"},
    "stream_fence": {"INSERT", "UPDATE"},
    "ingestion_watermarks": {"INSERT", "UPDATE"},
    "source_calls": {"INSERT", "DELETE"},
    "source_health": {"INSERT", "UPDATE"},
    "source_switches": {"INSERT"},
    "trade_coverage": {"INSERT", "UPDATE", "DELETE"},
    "dead_letter_replays": {"INSERT", "UPDATE"},
    "candle_partials": {"INSERT", "UPDATE", "DELETE"},
    "indicators": {"INSERT", "UPDATE"},
    "indicator_repairs": {"INSERT", "UPDATE", "DELETE"},
    "price_anomalies": {"INSERT", "UPDATE", "DELETE"},
    "anomaly_outbox": {"INSERT", "DELETE"},
    "stream_checkpoints": {"INSERT"},
    "stream_starts": {"INSERT", "UPDATE"},
}


@pytest.mark.parametrize("role", ["pipeline_writer", *READ_ONLY])
def test_each_role_has_its_rights_and_no_more(services: Services, role: str) -> None:
    verbs = ("SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE")
    with psycopg.connect(services.database_url) as connection:
        for table in tables(services.database_url) - {migrate.VERSION_TABLE}:
            if table.startswith("market_events_p"):
                continue
            allowed = {"SELECT"} | (WRITER_MAY.get(table, set()) if role == "pipeline_writer" else set())
            for verb in verbs:
                row = connection.execute(
                    "SELECT has_table_privilege(%s, %s, %s)", (role, f"market.{table}", verb)
                ).fetchone()
                assert row == (verb in allowed,), f"{role} {verb} {table}"


def test_the_reader_cannot_write_even_where_it_tries(services: Services) -> None:
    with (
        psycopg.connect(services.reader_database_url) as connection,
        pytest.raises(psycopg.errors.ReadOnlySqlTransaction),
    ):
        connection.execute("DELETE FROM candles")


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
