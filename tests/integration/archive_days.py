"""A database of the archive's own, days of events and results in it, and files to look at."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg

from include.storage import migrate
from include.storage.archive import Archive
from include.storage.archive_catalogue import Part
from tests.stores import Services
from tests.trial_database import trial_database

DATABASE = "archive_trial"
EVENTS, RESULTS = "market_events", "data_quality_results"
SYMBOLS = ("AAPL", "BRK-B", "NA", "BTC-USD")
# A void volume in every third, more decimals than a float holds, a source that repeats; symbol `NA` is no null.
_EVENTS = """
INSERT INTO market_events (event_id, symbol, asset_class, source, kind, event_time, interval_seconds, open, high, low,
    close, volume, currency, ingested_at, kafka_partition, kafka_offset, revision)
SELECT 'yahoo:' || symbol || ':bar60:' || %(day)s || ':' || n, symbol, 'stock', 'yahoo', 'bar', at, 60, price,
    price + 0.00000001, price - 0.00000001, price, CASE WHEN n %% 3 > 0 THEN 12345678901234567890.12345678 + n END,
    'USD', at + interval '61.000001 seconds', CASE WHEN n %% 5 > 0 THEN 1 END, CASE WHEN n %% 5 > 0 THEN n END, 0
FROM (SELECT n, (%(symbols)s::text[])[1 + n %% 4] AS symbol, 1234567890.12345678 + n AS price,
        %(day)s::date::timestamp AT TIME ZONE 'UTC' + n * interval '43.2 seconds' AS at
      FROM generate_series(%(first)s::int, %(first)s::int + %(rows)s - 1) AS n) made
"""
_RESULTS = """
INSERT INTO data_quality_results (checked_at, run_id, suite, check_name, dimension, severity, symbol, passed, observed,
    expected, measured, reason, failing_rows, failing_keys, covered_from)
SELECT %(day)s::date::timestamp AT TIME ZONE 'UTC' + n * interval '1 second', 'run ' || n / 10, 'warehouse', 'check',
    'validity', 'info', CASE WHEN n %% 2 = 0 THEN 'AAPL' END, n %% 7 > 0,
    (ARRAY['null', 'NaN', '', 'a "quoted" word, and\nanother line', NULL, '\\.'])[1 + n %% 6], '{}',
    (ARRAY['NaN', 'Infinity', '-Infinity', '0.1', NULL]::float8[])[1 + n %% 5] , 'é→\t\r\n', n,
    jsonb_build_array(n, 'x"y', 1.50), NULL
FROM generate_series(1, %(rows)s) AS n
"""

#: A day of events that is in the archive only, as far as the catalogue says.
COLD_DAY = """
INSERT INTO market.archived_days (relation, day, part, rows, checksum, file, bytes, file_sha256, verified_at,
    dropped_at)
VALUES ('market_events', %s, 1, 1, 1, 'a file', 1, '', now(), now())
"""


@dataclass
class ArchiveTrial:
    """`folder` is the archive's; a day has no rows until `fill` gives it some."""

    owner_url: str = field(repr=False)
    writer_url: str = field(repr=False)
    reader_url: str = field(repr=False)
    folder: Path
    _connection: psycopg.Connection[Any] = field(repr=False)

    def rows(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        cursor = self._connection.execute(statement, values or None)
        return cursor.fetchall() if cursor.description else []

    def fill(self, day: date, rows: int = 2_000, relation: str = EVENTS, first: int = 0) -> None:
        self.rows("SELECT market.ensure_partitions(%s, %s::date[])", relation, [day])
        statement = _EVENTS if relation == EVENTS else _RESULTS
        bound = {"day": day, "rows": rows, "first": first, "symbols": list(SYMBOLS)}
        self._connection.execute(statement, bound)

    def revise(self, day: date) -> None:
        """Another revision of every seventh event, as a backfill adds it."""
        self.rows(
            "INSERT INTO market_events SELECT event_id, symbol, asset_class, source, kind, event_time, "
            "interval_seconds, open, high + 1, low, close, volume, currency, now(), NULL, NULL, 1 FROM market_events "
            "WHERE event_time >= %s AND event_time < %s AND kafka_offset %% 7 = 1 AND revision = 0",
            start_of(day), start_of(day + timedelta(days=1)),
        )  # fmt: skip

    def content(self, day: date, relation: str = EVENTS) -> list[str]:
        """The rows of a day as PostgreSQL writes them; none if there is no such partition."""
        if self.rows("SELECT to_regclass(%s)", f"market.{self.partition(relation, day)}") == [(None,)]:
            return []
        return sorted(row for (row,) in self.rows(f"SELECT p::text FROM market.{self.partition(relation, day)} p"))

    def partition(self, relation: str, day: date) -> str:
        return f"{relation}_p{day:%Y%m%d}"

    def parts(self, day: date, relation: str = EVENTS) -> list[Part]:
        with self.archive() as archive:
            return [part for part in archive.catalogue() if (part.relation, part.day) == (relation, day)]

    def files(self, day: date, relation: str = EVENTS) -> list[str]:
        return sorted(file.name for file in (self.folder / relation / f"day={day}").glob("*"))

    def archive(self, passed: Any = lambda step: None) -> Archive:
        return Archive(self.owner_url, self.folder, passed)


@contextmanager
def archive_trial(services: Services, folder: Path) -> Iterator[ArchiveTrial]:
    with trial_database(services, DATABASE) as owner:
        migrate.upgrade(owner, "sandbox")
        writer, reader = (
            url.replace("/financial_data", f"/{DATABASE}")
            for url in (services.writer_database_url, services.reader_database_url)
        )
        with psycopg.connect(owner, autocommit=True) as connection:
            yield ArchiveTrial(owner, writer, reader, folder, connection)


def start_of(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)
