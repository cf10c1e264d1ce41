"""The catalogue of the archive: which days are in which files, and what may be asked of them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import psycopg
from psycopg.rows import scalar_row

from include.errors import MarketDataError
from include.settings import Settings
from include.storage.archive_sql import COLD_DAYS

EVENTS = "market_events"
#: Tables kept by UTC day, and the order of their rows in a file: what is asked together lies together.
ORDER = {
    EVENTS: ("symbol", "event_time", "event_id", "revision"),
    "data_quality_results": ("checked_at", "run_id", "check_name", "symbol"),
}
#: By which a row that came again is known, where a table has such a key.
KEY = {EVENTS: ("event_id", "revision")}


class ArchiveError(MarketDataError):
    """A day was left as it is, because its file and its rows are not as the catalogue says."""


class DayIsBusy(MarketDataError):
    """Somebody else holds a lock that moving a day needs."""

    retriable = True


class DayIsCold(MarketDataError):
    """What is asked for needs the raw rows of a day that are only in the archive."""


class Figures(NamedTuple):
    """How many rows, and the sum of their hashes: the same rows in any order have the same."""

    rows: int
    checksum: Decimal

    def __str__(self) -> str:
        return f"{self.rows} rows with checksum {self.checksum}"


class Partition(NamedTuple):
    """A day in PostgreSQL; `rows` is None where they were not counted."""

    relation: str
    day: date
    rows: int | None


@dataclass(frozen=True, slots=True)
class Part:
    """A row of `archived_days`: one file of a day. Cold while `dropped_at` is set, else warm.

    Where `verified_at` is later than `archived_at`, the day was touched again: restored, or added to.
    """

    relation: str
    day: date
    part: int
    rows: int
    checksum: Decimal
    file: str
    bytes: int
    file_sha256: str
    archived_at: datetime
    verified_at: datetime
    dropped_at: datetime | None

    @property
    def figures(self) -> Figures:
        return Figures(self.rows, self.checksum)

    @property
    def is_cold(self) -> bool:
        return self.dropped_at is not None

    def __str__(self) -> str:
        return f"{self.relation} of {self.day}, part {self.part}"


def archive_folder(settings: Settings) -> Path:
    """Where the Parquet files are. Raises SettingsError without MARKET."""
    # Each market has its own: they never share state.
    return settings.archive_dir / settings.state_dir.name if settings.archive_dir else settings.state_dir / "archive"


def cold_days(connection: psycopg.Connection[Any], relation: str, first: date, last: date) -> list[date]:
    """The days from first to last, both included, whose rows are only in the archive; in order."""
    with connection.cursor(row_factory=scalar_row) as cursor:
        return cursor.execute(COLD_DAYS, (relation, first, last)).fetchall()


def refuse_cold(connection: psycopg.Connection[Any], relation: str, first: date, last: date) -> None:
    """Raises DayIsCold, naming the `cold_days`."""
    cold = [f"{day}" for day in cold_days(connection, relation, first, last)]
    if cold:
        raise DayIsCold(
            f"{relation} of {', '.join(cold)}: the rows are only in the archive; bring each day back first with "
            f"./pipeline archive restore {cold[0]}"
        )
