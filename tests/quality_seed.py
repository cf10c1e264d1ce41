"""Two days of quality runs as the checks write them: mostly passed, some failing, so that each view has its case."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from include.quality.measures import span
from include.quality.suites import Check, Suite, load_suites

SYMBOLS = ("AAPL", "BTC-USD", "IBM", "SOL-USD")
EVERY = timedelta(minutes=10)
RUNS = 288
#: Fails in the last three runs, with keys; its rows are held.
BROKEN = "market_events_wicks_plausible"
#: Failed until 20 hours ago, and passes since.
MENDED = "candles_keys_unique"
#: Stale for the last hour: its check fails, all others are fresh.
STALE = "IBM"
#: Misses minutes on both days: a warning that is no change.
HOLES = "SOL-USD"
_COLUMNS = (
    "checked_at", "run_id", "suite", "check_name", "dimension", "severity", "symbol", "passed", "observed", "expected",
    "measured", "reason", "failing_rows", "failing_keys", "covered_from", "covered_until",
)  # fmt: skip
_RUN = """
INSERT INTO quality_runs (run_id, dag_run_id, started_at, finished_at, covered_from, covered_until, suites, symbols,
    passed, failed_critical, failed_warning, summary)
VALUES (%s, %s, %s, %s, %s, %s, %s, NULL, %s, %s, %s, %s)
"""


@dataclass(frozen=True, slots=True)
class Found:
    """What one row of results says beside what its check is."""

    passed: bool
    observed: str
    expected: str
    measured: float
    keys: tuple[dict[str, Any], ...] = ()
    symbol: str | None = None


def run_id(at: datetime) -> str:
    return f"scheduled-{at:%Y-%m-%dT%H-%M-%S}"


def seed_quality(owner_url: str, newest: datetime, runs: int = RUNS) -> list[str]:
    """Runs every ten minutes until `newest` (UTC), quarantine and archive; the ids of the runs, oldest first."""
    times = [newest - EVERY * number for number in reversed(range(runs))]
    days = sorted({at.date() for at in times})
    with psycopg.connect(owner_url) as connection:
        connection.execute("SELECT market.ensure_partitions('data_quality_results', %s)", (days,))
        for at in times:
            _seed_run(connection, at, newest)
        _seed_quarantine(connection, newest)
        _seed_archive(connection, newest)
    with psycopg.connect(owner_url, autocommit=True) as connection:
        connection.execute("ANALYZE data_quality_results, quality_runs")
    return [run_id(at) for at in times]


def _seed_run(connection: psycopg.Connection[Any], at: datetime, newest: datetime) -> None:
    suites = load_suites()
    covered = (at - timedelta(hours=1, minutes=10), at)
    rows = [row for suite in suites for row in _rows(suite, newest - at, at)]
    checks = [(check, found) for _, check, found in rows if found.symbol is None]
    failed = [check for check, found in checks if not found.passed]
    critical = [check.name for check in failed if check.severity == "critical"]
    warnings = [check.name for check in failed if check.severity == "warning"]
    passed = len(checks) - len(failed)
    summary = f"{passed} of {len(checks)} checks passed"
    connection.execute(
        _RUN,
        (
            run_id(at), f"scheduled__{at.isoformat()}", at, at + timedelta(seconds=9), *covered,
            [suite.name for suite in suites], passed, len(critical), len(warnings), summary,
        ),
    )  # fmt: skip
    with (
        connection.cursor() as cursor,
        cursor.copy(f"COPY data_quality_results ({', '.join(_COLUMNS)}) FROM STDIN") as copy,
    ):
        for suite, check, found in rows:
            copy.write_row(
                (
                    at + timedelta(seconds=9), run_id(at), suite.name, check.name, check.dimension, check.severity,
                    found.symbol, found.passed, found.observed, found.expected, found.measured, check.reason,
                    len(found.keys), Jsonb(list(found.keys)), *covered,
                )
            )  # fmt: skip


def _rows(suite: Suite, age: timedelta, at: datetime) -> Iterator[tuple[Suite, Check, Found]]:
    for check in suite.checks:
        measured = [_measure(check, symbol, age, at) for symbol in SYMBOLS] if check.measure else []
        bad = [found for found in measured if not found.passed]
        keys = tuple({"symbol": found.symbol} for found in bad) if measured else _keys(check, age, at)
        seen = f"{len(keys)} rows fail" if keys else "as expected"
        yield suite, check, Found(not keys, seen, check.expected, float(len(keys)), keys)
        for found in measured:
            yield suite, check, found


def _keys(check: Check, age: timedelta, at: datetime) -> tuple[dict[str, Any], ...]:
    if check.name == BROKEN and age < 3 * EVERY:
        moments = [at - timedelta(minutes=minute) for minute in (7, 6, 5)]
        return tuple(
            {
                "event_id": f"yahoo:AAPL:bar60:{int(moment.timestamp())}",
                "revision": 0,
                "event_time": f"{moment}",
                "symbol": "AAPL",
                "asset_class": "stock",
            }
            for moment in moments
        )
    if check.name == MENDED and age > timedelta(hours=20):
        return ({"symbol": "BTC-USD", "interval": "1m", "window_start": f"{at:%Y-%m-%d %H}:00:00+00:00", "times": 2},)
    return ()


def _measure(check: Check, symbol: str, age: timedelta, at: datetime) -> Found:
    if check.measure == "freshness":
        seconds = 3_900.0 - age.total_seconds() if symbol == STALE and age < timedelta(hours=1) else 41.0
        last = at - timedelta(seconds=seconds)
        said = f"last event {last:%Y-%m-%d %H:%M:%S}, {span(seconds)} of trading ago"
        return Found(seconds <= 300, said, "at most 5 min while its market is open", seconds, symbol=symbol)
    missing = 9 if symbol == HOLES and age % timedelta(days=1) < 2 * EVERY else 0
    said = f"{70 - missing} of 70 minutes, longest hole {missing} min" + (f", {missing} missing" if missing else "")
    return Found(not missing, said, "no hole over 5 min in its sessions", 1 - missing / 70, symbol=symbol)


def _seed_quarantine(connection: psycopg.Connection[Any], newest: datetime) -> None:
    for minute, state in ((7, "held"), (6, "held"), (5, "held"), (90, "released"), (95, "dropped")):
        at = newest - timedelta(minutes=minute)
        connection.execute(
            "INSERT INTO quarantined_events (event_id, revision, event_time, symbol, asset_class, check_name, reason,"
            " state, quarantined_at, run_id, decided_at) VALUES (%s, 0, %s, 'AAPL', 'stock', %s, %s, %s, %s, %s, %s)",
            (
                f"yahoo:AAPL:bar60:{int(at.timestamp())}", at, BROKEN, "A bad print: a low far below both ends.", state,
                newest, run_id(newest), None if state == "held" else newest,
            ),
        )  # fmt: skip


def _seed_archive(connection: psycopg.Connection[Any], newest: datetime) -> None:
    """One cold and one warm day of results, beside the hot ones that have partitions."""
    for age, dropped in ((40, newest), (10, None)):
        day = newest.date() - timedelta(days=age)
        connection.execute(
            "INSERT INTO archived_days (relation, day, part, rows, checksum, file, bytes, file_sha256, verified_at,"
            " dropped_at) VALUES ('data_quality_results', %s, 1, 13000, 1, %s, 700000, 'f', %s, %s)",
            (day, f"data_quality_results/day={day}/part-0001.parquet", newest, dropped),
        )
