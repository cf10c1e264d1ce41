"""The figures of `DatabaseManager.get_data_quality_metrics()`, fast however many rows there are."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from psycopg.rows import class_row
from psycopg.sql import SQL, Composed, Identifier, Literal

from include.storage import quality_sql as sql
from include.storage.quality_rows import CheckResult, Run

if TYPE_CHECKING:
    import psycopg

    Connection = psycopg.Connection[dict[str, Any]]

#: Up to here rows are counted, which takes about a tenth of a second; above, the planner's estimate is taken.
COUNTED_BYTES = 256 * 1024 * 1024
#: Failing checks come first.
MAX_FAILING = 1_000
COUNTED = ("market_events", "candles", "dead_letters", "late_events")

_BYTES = """
SELECT pg_relation_size(whole) + coalesce((SELECT sum(pg_relation_size(relid)) FROM pg_partition_tree(whole)), 0)
    AS bytes
FROM to_regclass('market.' || %s) AS whole
"""
_COLD = (
    "SELECT coalesce(sum(rows), 0)::bigint AS rows FROM archived_days WHERE relation = %s AND dropped_at IS NOT NULL"
)
# Hops from symbol to symbol along the key.
_SYMBOLS = """
WITH RECURSIVE known AS (
    (SELECT symbol FROM candles ORDER BY symbol LIMIT 1)
    UNION ALL
    SELECT (SELECT c.symbol FROM candles c WHERE c.symbol > known.symbol ORDER BY c.symbol LIMIT 1)
    FROM known WHERE known.symbol IS NOT NULL
)
SELECT known.symbol, newest.window_start AS last_candle_at,
       extract(epoch FROM now() - newest.window_start)::bigint AS age_seconds
FROM known CROSS JOIN LATERAL (
    SELECT window_start FROM candles WHERE symbol = known.symbol AND interval = '1m'
    ORDER BY window_start DESC LIMIT 1) newest
ORDER BY known.symbol
"""
_CANDLES_OF = SQL("SELECT symbol, count(*) AS candles FROM candles WHERE interval = '1m' GROUP BY symbol")
_FRESHNESS = """
SELECT symbol, last_at AS last_event_at, age_seconds, limit_seconds, is_open, passed AS is_fresh
FROM symbol_freshness(now(), %s) ORDER BY symbol
"""
_COMPLETENESS = """
SELECT symbol, expected_minutes, present_minutes, missing_minutes, passed AS is_complete
FROM symbol_completeness(date_trunc('day', now(), 'UTC'), now(), %s) ORDER BY symbol
"""


def quality_metrics(connection: Connection, limit_seconds: int) -> dict[str, Any]:
    """See `DatabaseManager.get_data_quality_metrics`. `limit_seconds` is the least limit of freshness."""
    exact = {relation: _is_small(connection, relation) for relation in COUNTED}
    return {
        "checked_at": datetime.now(UTC),
        **{_key(relation): _count(connection, relation, exact[relation]) for relation in COUNTED},
        "counts": {_key(relation): "exact" if exact[relation] else "estimated" for relation in COUNTED},
        "events_archived": _one(connection, _COLD, "market_events")["rows"],
        "symbols": _symbols(connection, exact["candles"]),
        "freshness": connection.execute(_FRESHNESS, (limit_seconds,)).fetchall(),
        "completeness": connection.execute(_COMPLETENESS, (limit_seconds,)).fetchall(),
        "quarantine_held": _one(connection, sql.HELD_COUNT)["held"],
        **_last_run(connection),
    }


def _last_run(connection: Connection) -> dict[str, Any]:
    with connection.cursor(row_factory=class_row(Run)) as cursor:
        run = cursor.execute(sql.NEWEST_RUN).fetchone()
    if run is None:
        return {"last_run": None, "failing_checks": []}
    with connection.cursor(row_factory=class_row(CheckResult)) as cursor:
        found = cursor.execute(sql.RESULTS, {"run_id": run.run_id, "limit": MAX_FAILING}).fetchall()
    return {
        "last_run": {
            "run_id": run.run_id,
            "finished_at": run.finished_at,
            "passed": run.passed,
            "failed_critical": run.failed_critical,
            "failed_warning": run.failed_warning,
            "pass_rate": run.pass_rate,
        },
        "failing_checks": [each.words for each in found if not each.passed],
    }


def _is_small(connection: Connection, relation: str) -> bool:
    return bool(_one(connection, _BYTES, relation)["bytes"] <= COUNTED_BYTES)


def _count(connection: Connection, relation: str, is_exact: bool) -> int:
    rows = SQL("SELECT FROM {}").format(Identifier(relation))
    if not is_exact:
        return _estimate(connection, rows)
    return int(_one(connection, SQL("SELECT count(*) AS rows FROM {}").format(Identifier(relation)))["rows"])


def _symbols(connection: Connection, is_exact: bool) -> list[dict[str, Any]]:
    newest = connection.execute(_SYMBOLS).fetchall()
    if is_exact:
        counted = {row["symbol"]: row["candles"] for row in connection.execute(_CANDLES_OF)}
    else:
        counted = {row["symbol"]: _estimate(connection, _candles_of(row["symbol"])) for row in newest}
    return [{"symbol": row["symbol"], "candles": counted.get(row["symbol"], 0), **row} for row in newest]


def _candles_of(symbol: str) -> Composed:
    return SQL("SELECT FROM candles WHERE symbol = {} AND interval = '1m'").format(Literal(symbol))


def _estimate(connection: Connection, rows: Composed) -> int:
    """The planner's: rows a page when it was last analysed, times its pages now."""
    plan = _one(connection, SQL("EXPLAIN (FORMAT JSON) {}").format(rows))["QUERY PLAN"]
    return int(plan[0]["Plan"]["Plan Rows"])


def _one(connection: Connection, statement: str | Composed, *values: object) -> dict[str, Any]:
    found = connection.execute(statement, values or None).fetchone()
    assert found is not None  # each of these statements gives a row
    return found


def _key(relation: str) -> str:
    return "events" if relation == "market_events" else relation
