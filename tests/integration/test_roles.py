"""Least privilege: each role tries each verb on each table, view, partition and function, against one list of rights.

What it tries is rolled back. A right is a statement that gets past PostgreSQL's permissions, whatever comes then.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from psycopg import errors
from psycopg.sql import SQL, Composed, Identifier

from tests.stores import Services

WRITER, READER, CHECKER = ROLES = ("pipeline_writer", "pipeline_reader", "pipeline_checker")
#: Beside SELECT, which each role has everywhere: (writer, checker). The reader has nothing more.
RIGHTS: dict[str, tuple[str, str]] = {
    "alerts": ("INSERT UPDATE", "INSERT UPDATE"),
    "anomaly_outbox": ("INSERT DELETE", ""),
    "adjusted_candles": ("", ""),
    "adjusted_daily_bars": ("", ""),
    "adjustment_factors": ("INSERT UPDATE DELETE", ""),
    "anomaly_acknowledgements": ("INSERT", ""),
    "archived_days": ("", ""),
    "backfill_results": ("INSERT UPDATE", ""),
    "candle_partials": ("INSERT UPDATE DELETE", ""),
    "candles": ("INSERT UPDATE DELETE", ""),
    "corporate_action_looks": ("INSERT UPDATE", ""),
    "corporate_actions": ("INSERT UPDATE DELETE", ""),
    "counted_events": ("", ""),
    "crypto_prices_raw": ("", ""),
    "current_events": ("", ""),
    "data_gaps": ("INSERT UPDATE", ""),
    "data_quality_results": ("", "INSERT"),
    "dead_letter_replays": ("INSERT UPDATE", ""),
    "dead_letters": ("INSERT", ""),
    "indicator_repairs": ("INSERT UPDATE DELETE", ""),
    "indicators": ("INSERT UPDATE DELETE", ""),
    "ingestion_watermarks": ("INSERT UPDATE", ""),
    "instruments": ("", ""),
    "late_events": ("INSERT", ""),
    "market_events": ("INSERT", ""),
    "platform": ("", ""),
    "price_anomalies": ("INSERT UPDATE DELETE", ""),
    "quality_runs": ("", "INSERT UPDATE"),
    "quarantined_events": ("UPDATE", "INSERT"),
    "schema_changes": ("", ""),
    "schema_version": ("", ""),
    "source_calls": ("INSERT DELETE", ""),
    "source_health": ("INSERT UPDATE", ""),
    "source_switches": ("INSERT", ""),
    "stock_prices_raw": ("", ""),
    "stream_batches": ("INSERT", ""),
    "stream_checkpoints": ("INSERT", ""),
    "stream_fence": ("INSERT UPDATE", ""),
    "stream_lease": ("INSERT UPDATE", ""),
    "stream_starts": ("INSERT UPDATE", ""),
    "topic_ends": ("", "INSERT UPDATE"),
    "trade_coverage": ("INSERT UPDATE DELETE", ""),
    "trading_sessions": ("", ""),
}
#: Where a verb is given for some columns only.
COLUMNS = {
    (WRITER, "UPDATE", "quarantined_events"): {
        "state", "decided_at", "decided_by", "decision_run", "note", "applied_at"
    },
    (CHECKER, "INSERT", "quarantined_events"): {
        "event_id", "revision", "event_time", "symbol", "asset_class", "check_name", "reason", "run_id"
    },
}  # fmt: skip
#: Days are made by who may fill them; all other functions only read, and read what their caller may.
DEFINERS = {"ensure_event_partitions": {WRITER}, "ensure_partitions": {WRITER, CHECKER}}
FUNCTIONS = {
    "candle_differences", "control_figure", "differs", "implausible_prices", "indicator_differences", "ledger_balance",
    "ledger_gaps", "anomaly_differences", "recounted_candles", "symbol_completeness", "symbol_freshness",
    "topics_behind", "traded_seconds", "usual_gap_seconds", "missing_minutes", "events_as_of", "candles_as_of",
    "computed_factors", "candles_adjusted",
}  # fmt: skip
#: What nobody but the owner may do: on the tables themselves, and beside them.
ON_A_TABLE = (
    "ALTER TABLE market.{table} ADD COLUMN tried int",
    "ALTER TABLE market.{table} OWNER TO CURRENT_USER",
    "CREATE INDEX ON market.{table} ((1))",
    "CREATE TRIGGER tried BEFORE INSERT ON market.{table} EXECUTE FUNCTION suppress_redundant_updates_trigger()",
    "DROP TABLE market.{table} CASCADE",
)
BESIDE = (
    "ALTER FUNCTION market.ledger_balance(timestamptz, timestamptz) SECURITY DEFINER",
    "ALTER ROLE pipeline_reader CREATEROLE",
    "COPY market.platform TO PROGRAM 'true'",
    "CREATE FUNCTION market.tried() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "CREATE ROLE tried",
    "CREATE SCHEMA tried",
    "CREATE TABLE market.tried (a int)",
    "CREATE TABLE public.tried (a int)",
    "CREATE VIEW market.tried AS SELECT 1",
    "DROP SCHEMA market CASCADE",
    "DROP VIEW market.counted_events",
    "SELECT pg_read_file('postgresql.conf')",
    "SELECT rolpassword FROM pg_authid",
    "SET ROLE dataeng",
)

PARTITIONS = ("market_events_p20010101", "data_quality_results_p20010101")
_KINDS = {"r": "table", "p": "table", "v": "view"}


@dataclass
class Trials:
    """One role's session; `refused` tries a statement and takes it back."""

    role: str
    connection: psycopg.Connection[Any]

    def refused(self, statement: Composed | str) -> bool:
        composed = SQL(statement) if isinstance(statement, str) else statement
        try:
            with self.connection.transaction(force_rollback=True):
                self.connection.execute(composed)
        except (errors.InsufficientPrivilege, errors.ObjectNotInPrerequisiteState):
            return True  # the latter of a view of several tables, which nobody writes to
        except (errors.IntegrityError, errors.NotNullViolation):
            pass  # it was let in, and the row was not good
        return False

    def allowed(self, relation: str) -> set[str]:
        """The verbs beside SELECT."""
        writer, checker = RIGHTS[relation]
        return set({WRITER: writer, CHECKER: checker, READER: ""}[self.role].split())


@pytest.fixture(scope="module")
def relations(services: Services) -> dict[str, tuple[str, list[str]]]:
    """Kind and columns of each table and view; with a partition of each table that has them."""
    with psycopg.connect(services.database_url, autocommit=True) as owner:
        day = datetime(2001, 1, 1, tzinfo=UTC).date()
        for table in ("market_events", "data_quality_results"):
            owner.execute("SELECT market.ensure_partitions(%s, %s)", (table, [day]))
        found = owner.execute(
            "SELECT c.relname, c.relkind, c.relispartition, array_agg(a.attname::text ORDER BY a.attnum) "
            "FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped "
            "WHERE c.relnamespace = 'market'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm', 'f') GROUP BY 1, 2, 3"
        ).fetchall()
    return {
        name: (_KINDS[kind], columns) for name, kind, is_partition, columns in found
        if not is_partition or name in PARTITIONS
    }  # fmt: skip


@pytest.fixture(params=ROLES)
def trials(services: Services, request: pytest.FixtureRequest) -> Iterator[Trials]:
    """May write as far as the session goes: what is tried is what is granted."""
    role = str(request.param)
    with psycopg.connect(url_of(services, role)) as connection:
        connection.execute("SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE")
        connection.execute("SET default_transaction_read_only = off")
        connection.commit()
        assert connection.execute("SELECT current_user").fetchone() == (role,)
        connection.rollback()
        yield Trials(role, connection)


def url_of(services: Services, role: str) -> str:
    return {
        WRITER: services.writer_database_url,
        READER: services.reader_database_url,
        CHECKER: services.checker_database_url,
    }[role]


def test_the_list_has_every_table_view_and_function(
    services: Services, relations: dict[str, tuple[str, list[str]]]
) -> None:
    assert set(relations) == set(RIGHTS) | set(PARTITIONS)
    with psycopg.connect(services.database_url) as owner:
        functions = owner.execute("SELECT proname FROM pg_proc WHERE pronamespace = 'market'::regnamespace").fetchall()
    assert {name for (name,) in functions} == FUNCTIONS | set(DEFINERS)


def test_each_role_can_do_what_it_needs_and_no_more(
    trials: Trials, relations: dict[str, tuple[str, list[str]]]
) -> None:
    for name in RIGHTS:
        kind, columns = relations[name]
        table, allowed = Identifier("market", name), trials.allowed(name)
        assert not trials.refused(SQL("SELECT * FROM {}").format(table)), name
        assert trials.refused(SQL("DELETE FROM {} WHERE false").format(table)) == ("DELETE" not in allowed), name
        if kind == "table":
            assert trials.refused(SQL("TRUNCATE {}").format(table)), name
        # A grant of what one may not pass on is a warning and no error.
        passing_on = "SELECT has_table_privilege(%s, 'SELECT WITH GRANT OPTION, INSERT WITH GRANT OPTION')"
        assert trials.connection.execute(passing_on, (f"market.{name}",)).fetchone() == (False,), name
        for column in columns:
            for verb, statement in (
                ("INSERT", "INSERT INTO {table} ({column}) VALUES (DEFAULT)"),
                ("UPDATE", "UPDATE {table} SET {column} = DEFAULT WHERE false"),
            ):
                may = verb in allowed and column in COLUMNS.get((trials.role, verb, name), {column})
                tried = SQL(statement).format(table=table, column=Identifier(column))
                assert trials.refused(tried) != may, f"{trials.role} {verb} {name}.{column}"


def test_partitions_are_reached_through_their_table_only(
    trials: Trials, relations: dict[str, tuple[str, list[str]]]
) -> None:
    for name in PARTITIONS:
        column = relations[name][1][0]
        for statement in (
            "SELECT * FROM market.{0}", "INSERT INTO market.{0} ({1}) VALUES (DEFAULT)",
            "UPDATE market.{0} SET {1} = {1}", "DELETE FROM market.{0}", "TRUNCATE market.{0}",
        ):  # fmt: skip
            assert trials.refused(statement.format(name, column)), f"{trials.role}: {statement} {name}"


def test_nobody_but_the_owner_changes_the_schema(trials: Trials, relations: dict[str, tuple[str, list[str]]]) -> None:
    for name in (*RIGHTS, *PARTITIONS):
        if relations[name][0] == "table":
            for statement in ON_A_TABLE:
                assert trials.refused(statement.format(table=name)), f"{trials.role}: {statement} {name}"
    for statement in BESIDE:
        assert trials.refused(statement), f"{trials.role}: {statement}"
    # The stream's staging tables are the writer's alone.
    assert trials.refused("CREATE TEMP TABLE tried (a int)") == (trials.role != WRITER)


def test_functions_are_for_those_who_need_them(trials: Trials, services: Services) -> None:
    with psycopg.connect(services.database_url) as owner:
        found = owner.execute(
            "SELECT proname, prosecdef, (SELECT string_agg(format('NULL::%s', t::regtype), ', ') "
            "FROM unnest(proargtypes) t) FROM pg_proc WHERE pronamespace = 'market'::regnamespace"
        ).fetchall()
    for name, is_definer, arguments in found:
        assert is_definer == (name in DEFINERS)
        if not is_definer:
            assert not trials.refused(f"SELECT market.{name}({arguments or ''})"), name
    day = "ARRAY['2001-01-02'::date]"
    assert trials.refused(f"SELECT market.ensure_event_partitions({day})") == (trials.role != WRITER)
    for relation, role in (("market_events", WRITER), ("data_quality_results", CHECKER)):
        statement = f"SELECT market.ensure_partitions('{relation}', {day})"
        assert trials.refused(statement) == (trials.role != role), f"{trials.role}: {statement}"


def test_a_session_of_the_reader_writes_nothing_even_where_it_could(services: Services) -> None:
    """The second bolt: a grant too many would still change nothing."""
    with psycopg.connect(services.database_url, autocommit=True) as owner:
        owner.execute("GRANT DELETE ON market.candles TO pipeline_reader")
        try:
            with (
                psycopg.connect(services.reader_database_url) as reader,
                pytest.raises(errors.ReadOnlySqlTransaction),
            ):
                reader.execute("DELETE FROM candles")
        finally:
            owner.execute("REVOKE DELETE ON market.candles FROM pipeline_reader")


def test_no_role_is_more_than_its_grants(services: Services) -> None:
    powers = "rolsuper OR rolcreaterole OR rolcreatedb OR rolreplication OR rolbypassrls"
    with psycopg.connect(services.database_url) as owner:
        strong = owner.execute(f"SELECT rolname FROM pg_roles WHERE rolname = ANY (%s) AND ({powers})", (list(ROLES),))
        assert strong.fetchall() == []
        members = "SELECT member::regrole, roleid::regrole FROM pg_auth_members WHERE member = ANY (%s::regrole[])"
        assert owner.execute(members, (list(ROLES),)).fetchall() == []
        settings = owner.execute(
            "SELECT setconfig FROM pg_db_role_setting WHERE setrole = 'pipeline_reader'::regrole AND setdatabase = 0"
        ).fetchall()
    assert {"default_transaction_read_only=on", "statement_timeout=5s"} <= set(settings[0][0])
