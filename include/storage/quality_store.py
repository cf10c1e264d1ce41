"""What a run of the checks reads and writes beside Great Expectations; role pipeline_checker."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Any, Self

import psycopg
from psycopg.rows import class_row, dict_row
from psycopg.types.json import Jsonb

from include.code_version import code_version
from include.storage.database import libpq_url
from include.storage.lease import APPLICATION

RESULTS = "data_quality_results"
#: So far back a scheduled run follows what came late, or a fault that it found. Older days are for a run by hand.
REACH = timedelta(days=7)
_COLUMNS = (
    "checked_at", "run_id", "suite", "check_name", "dimension", "severity", "symbol", "passed", "observed", "expected",
    "measured", "reason", "failing_rows", "failing_keys", "covered_from", "covered_until",
)  # fmt: skip
_BEGIN = """
INSERT INTO quality_runs (run_id, dag_run_id, started_at, covered_from, covered_until, suites, symbols, code_version)
VALUES (%(run_id)s, %(dag_run_id)s, now(), %(since)s, %(until)s, %(suites)s, %(symbols)s, %(code_version)s)
ON CONFLICT (run_id) DO UPDATE SET started_at = now(), finished_at = NULL, covered_from = excluded.covered_from,
    covered_until = excluded.covered_until, suites = excluded.suites, symbols = excluded.symbols, summary = NULL,
    code_version = excluded.code_version
"""
_FINISH = """
UPDATE quality_runs SET finished_at = now(), passed = %(passed)s, failed_critical = %(failed_critical)s,
    failed_warning = %(failed_warning)s, summary = %(summary)s
WHERE run_id = %(run_id)s
"""
_OBSERVE = """
INSERT INTO topic_ends (topic, kafka_partition, first_offset, end_offset, topic_id, observed_at)
VALUES (%(topic)s, %(partition)s, %(first)s, %(end)s, %(topic_id)s, now())
ON CONFLICT (topic, kafka_partition) DO UPDATE SET first_offset = excluded.first_offset,
    end_offset = excluded.end_offset, topic_id = excluded.topic_id, observed_at = excluded.observed_at
"""
# What came while the last run looked may have come too late for it.
_BEFORE = """
SELECT last.covered_until,
       least((SELECT min(min_event_time) FROM stream_batches
              WHERE committed_at >= last.covered_until - interval '1 minute'),
             (SELECT min(day)::timestamp AT TIME ZONE 'UTC' FROM backfill_results
              WHERE finished_at >= last.covered_until - interval '1 minute' AND bars_new + bars_changed > 0)
       ) AS oldest_came,
       (SELECT min(fault.covered_from) FROM alerts a CROSS JOIN LATERAL (
            SELECT r.covered_from FROM data_quality_results r
            WHERE r.check_name = a.subject AND r.symbol IS NULL AND NOT r.passed
              AND r.checked_at >= a.last_seen_at - interval '1 hour' ORDER BY r.checked_at DESC LIMIT 1) fault
        WHERE a.kind = 'quality' AND a.resolved_at IS NULL
          AND fault.covered_from >= coalesce(last.covered_until, now()) - %s) AS oldest_fault
FROM (VALUES (0)) always LEFT JOIN (
    SELECT covered_until FROM quality_runs WHERE finished_at IS NOT NULL AND symbols IS NULL AND suites @> %s
    ORDER BY started_at DESC LIMIT 1) last ON true
"""


@dataclass(frozen=True, slots=True)
class Result:
    """One row of data_quality_results but for what it shares with its run."""

    suite: str
    check_name: str
    dimension: str
    severity: str
    passed: bool
    observed: str
    expected: str
    reason: str
    symbol: str | None = None
    measured: float | None = None
    failing_rows: int = 0
    failing_keys: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Before:
    """Until when the last run looked, the oldest event stored since then, and where the oldest open fault lies."""

    covered_until: datetime | None = None
    oldest_came: datetime | None = None
    oldest_fault: datetime | None = None


@dataclass(frozen=True, slots=True)
class TopicEnd:
    """What Kafka holds of a partition: [first, end)."""

    topic: str
    partition: int
    first: int
    end: int
    topic_id: str


_STARTING = """
SELECT NOT EXISTS (SELECT FROM market.stream_batches) OR EXISTS (
    SELECT FROM market.stream_lease l WHERE l.desired_state = 'running' AND l.application = %(application)s AND (
        l.owner IS NULL OR l.started_at > now() - make_interval(secs => %(seconds)s) AND (
            SELECT count(DISTINCT b.query_name) FROM market.stream_batches b WHERE b.committed_at >= l.started_at
        ) < (SELECT count(DISTINCT query_name) FROM market.stream_checkpoints))) AS starting
"""


class QualityStore:
    """One connection; every method may raise psycopg.Error."""

    def __init__(self, database_url: str) -> None:
        self._connection: psycopg.Connection[dict[str, Any]] = psycopg.connect(
            libpq_url(database_url),
            autocommit=True,
            connect_timeout=5,
            row_factory=dict_row,
            application_name="quality",
            options="-c timezone=UTC -c jit=off -c statement_timeout=120000",
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    def before(self, suites: Sequence[str]) -> Before:
        """What the newest finished run of all these suites and all symbols leaves to be looked at."""
        with self._connection.cursor(row_factory=class_row(Before)) as cursor:
            row = cursor.execute(_BEFORE, (REACH, list(suites))).fetchone()
        assert row is not None  # it begins with a row of constants
        return row

    def known_symbols(self) -> list[str]:
        rows = self._connection.execute("SELECT symbol FROM instruments WHERE is_collected ORDER BY symbol")
        return [row["symbol"] for row in rows]

    def begin(
        self,
        run_id: str,
        dag_run_id: str | None,
        covered: tuple[datetime, datetime],
        suites: Sequence[str],
        symbols: Sequence[str] | None,
    ) -> None:
        """A run begins; one that is tried again begins anew."""
        self._connection.execute(
            _BEGIN,
            {
                "run_id": run_id,
                "dag_run_id": dag_run_id,
                "since": covered[0],
                "until": covered[1],
                "suites": list(suites),
                "symbols": None if symbols is None else list(symbols),
                "code_version": code_version(),
            },
        )

    def finish(
        self, run_id: str, results: Iterable[Result], covered: tuple[datetime, datetime], summary: dict[str, Any]
    ) -> None:
        """Write all results and close the run, in one transaction. `summary`: passed, failed_*, summary."""
        now = datetime.now(UTC)
        with self._connection.transaction():
            self._connection.execute("SELECT market.ensure_partitions(%s, %s)", (RESULTS, [now.date()]))
            with (
                self._connection.cursor() as cursor,
                cursor.copy(f"COPY {RESULTS} ({', '.join(_COLUMNS)}) FROM STDIN") as copy,
            ):
                for result in results:
                    copy.write_row(
                        (
                            now, run_id, result.suite, result.check_name, result.dimension, result.severity,
                            result.symbol, result.passed, result.observed, result.expected, result.measured,
                            result.reason, result.failing_rows, Jsonb(result.failing_keys), *covered,
                        )
                    )  # fmt: skip
            self._connection.execute(_FINISH, {"run_id": run_id, **summary})

    def rows(self, sql: str, limit: int) -> list[dict[str, Any]]:
        """At most `limit` rows of a query of ours."""
        return self._connection.execute(f"SELECT * FROM ({sql}) found LIMIT %s", (limit,)).fetchall()

    def observe(self, ends: Iterable[TopicEnd]) -> None:
        """Keep what Kafka holds now, for the ledger to be compared with."""
        with self._connection.transaction(), self._connection.cursor() as cursor:
            cursor.executemany(
                _OBSERVE,
                [
                    {"topic": e.topic, "partition": e.partition, "first": e.first, "end": e.end, "topic_id": e.topic_id}
                    for e in ends
                ],
            )

    def topics_behind(self) -> int:
        """Partitions whose observed end the ledger has not reached."""
        row = self._connection.execute("SELECT count(*) AS behind FROM market.topics_behind()").fetchone()
        assert row is not None  # an aggregate
        return int(row["behind"])

    def is_starting(self, seconds: float) -> bool:
        """Whether nothing was ever stored, or the stream is wanted and has no driver, or one so young that not every
        query has stored something."""
        row = self._connection.execute(_STARTING, {"seconds": seconds, "application": APPLICATION}).fetchone()
        assert row is not None  # it has no FROM
        return bool(row["starting"])

    @property
    def connection(self) -> psycopg.Connection[dict[str, Any]]:
        return self._connection
