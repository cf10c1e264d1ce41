"""Raw events as they came, read only: from PostgreSQL, and of cold days from their files."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Protocol

import pyarrow.compute as pc
from psycopg.rows import class_row
from psycopg.sql import SQL, Identifier
from pyarrow import dataset

from include.storage.archive_catalogue import EVENTS
from include.storage.read_connections import DatabaseUnavailable, ReadConnections


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """One row of `market_events`. Prices in `currency`, volume in shares or base currency."""

    event_id: str
    symbol: str
    asset_class: str
    source: str
    kind: str
    event_time: datetime
    interval_seconds: int
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal | None
    currency: str
    ingested_at: datetime
    kafka_partition: int | None
    kafka_offset: int | None
    revision: int


_NAMES = [field.name for field in fields(StoredEvent)]
# The index on (symbol, event_time) gives the order; of each event the newest revision comes first.
_EVENTS = SQL(
    "SELECT DISTINCT ON (event_time, event_id) {} FROM market_events"
    " WHERE symbol = %(symbol)s AND event_time >= %(start)s AND event_time < %(end)s"
    " AND (%(as_of)s::timestamptz IS NULL OR ingested_at <= %(as_of)s)"
    " ORDER BY event_time, event_id, revision DESC LIMIT %(limit)s"
).format(SQL(", ").join(map(Identifier, _NAMES)))
# No day can leave the table while this is held, so none is missing from both places.
_NO_DAY_LEAVES = "LOCK TABLE ONLY market_events IN ACCESS SHARE MODE"
_COLD_FILES = (
    "SELECT file FROM archived_days WHERE relation = %(relation)s AND dropped_at IS NOT NULL"
    " AND day >= (%(start)s AT TIME ZONE 'UTC')::date AND day <= (%(end)s AT TIME ZONE 'UTC')::date ORDER BY day, part"
)


class EventReads(Protocol):
    """What the API asks; may raise DatabaseUnavailable."""

    def events(
        self, symbol: str, start: datetime, end: datetime, limit: int, as_of: datetime | None = None
    ) -> list[StoredEvent]: ...


class EventReader(ReadConnections):
    """Both places as one. `archive` is the folder of the Parquet files. Safe to call from several threads."""

    def __init__(self, database_url: str, archive: Path) -> None:
        super().__init__(database_url)
        self._archive = archive

    def events(
        self, symbol: str, start: datetime, end: datetime, limit: int, as_of: datetime | None = None
    ) -> list[StoredEvent]:
        """The first `limit` events with start <= event_time < end, oldest first, each in its newest revision.

        `as_of`: only what had come by then.
        """
        wanted = (symbol, start, end, limit, as_of)
        held, files = self._in_postgres(*wanted)
        try:
            filed = self._in_files(files, *wanted)
        except FileNotFoundError:
            # The day came back meanwhile, or its parts became one: the catalogue knows.
            held, files = self._in_postgres(*wanted)
            try:
                filed = self._in_files(files, *wanted)
            except FileNotFoundError as gone:
                raise DatabaseUnavailable(f"the archive lacks a file: {gone}") from gone
        return merged([*filed, *held], limit) if filed else held

    def _in_postgres(
        self, symbol: str, start: datetime, end: datetime, limit: int, as_of: datetime | None
    ) -> tuple[list[StoredEvent], list[str]]:
        """Rows of the table, and files of the cold days in the range, as of one moment."""
        last = end - timedelta(microseconds=1)
        bound = {"relation": EVENTS, "symbol": symbol, "start": start, "end": end, "limit": limit, "as_of": as_of}
        with self.connection() as connection, connection.transaction():
            connection.execute(_NO_DAY_LEAVES)
            files = [row["file"] for row in connection.execute(_COLD_FILES, bound | {"end": last})]
            with connection.cursor(row_factory=class_row(StoredEvent)) as cursor:
                return cursor.execute(_EVENTS, bound).fetchall(), files

    def _in_files(
        self, files: Sequence[str], symbol: str, start: datetime, end: datetime, limit: int, as_of: datetime | None
    ) -> list[StoredEvent]:
        return [row for file in files for row in _in_file(self._archive / file, symbol, start, end, limit, as_of)]


def merged(rows: Iterable[StoredEvent], limit: int) -> list[StoredEvent]:
    """The first `limit` events by time, each once: its newest revision, and of equal ones the first. Pure."""
    newest: dict[str, StoredEvent] = {}
    for row in rows:
        known = newest.get(row.event_id)
        if known is None or row.revision > known.revision:
            newest[row.event_id] = row
    return sorted(newest.values(), key=lambda row: (row.event_time, row.event_id))[:limit]


def _in_file(
    path: Path, symbol: str, start: datetime, end: datetime, limit: int, as_of: datetime | None
) -> Sequence[StoredEvent]:
    """All revisions of at least the first `limit` events of the range; the file is in their order."""
    wanted = (
        (pc.field("symbol") == symbol)
        & (pc.field("event_time") >= start.astimezone(UTC))
        & (pc.field("event_time") < end.astimezone(UTC))
    )
    if as_of is not None:
        wanted &= pc.field("ingested_at") <= as_of.astimezone(UTC)
    rows: list[dict[str, Any]] = []
    for batch in dataset.dataset(path).scanner(columns=_NAMES, filter=wanted).to_batches():
        rows += batch.to_pylist()
        if len({row["event_id"] for row in rows}) > limit:
            break
    return [StoredEvent(**row) for row in rows]
