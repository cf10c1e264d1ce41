"""What made a candle, read only: its events, the batches that stored them, backfills and quality runs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from psycopg.rows import class_row

from include.market.candle import Candle, Interval
from include.market.event import AssetClass
from include.market.topics import EVENTS
from include.storage import lineage_sql as sql
from include.storage.lineage_rows import (
    Backfill,
    CoveringRun,
    JudgedEvent,
    LedgerBatch,
    Lineage,
    PlacedEvent,
    StoredRow,
)
from include.storage.lineage_rules import arrival, differing, findings_by_run, judged, window_of
from include.storage.read_connections import ReadConnections

if TYPE_CHECKING:
    from include.storage.read_connections import Connection

#: Rows of one window that are read; a busy coin has a few thousand trades in five minutes.
MAX_EVENTS = 20_000
MAX_BATCHES = 600
#: So many batches are read at a time.
AHEAD = 100
#: A batch is committed seconds after its events came, and much later where they waited in a spool. Where the ledger has
#: lost some, that is not worth a walk to its end for each.
NEAR = timedelta(minutes=15)
MISSES_SOUGHT = 1
RUNS_SHOWN = 20
#: The producer's clock, by which an event came, may go before the database's, by which its batch was committed.
CLOCKS_APART = timedelta(minutes=1)

Row = TypeVar("Row")


class LineageReads(Protocol):
    """What API and command ask; may raise DatabaseUnavailable."""

    def lineage(self, symbol: str, moment: datetime, interval: Interval = "1m") -> Lineage | None: ...


class LineageReader(ReadConnections):
    """The same from PostgreSQL. Safe to call from several threads."""

    def lineage(self, symbol: str, moment: datetime, interval: Interval = "1m") -> Lineage | None:
        """All that made the candle whose window the moment lies in; None: there is no such candle.

        Raises OverflowError for a moment at the calendar's end.
        """
        start, end = window_of(moment.astimezone(UTC), interval)
        bound = {"symbol": symbol, "interval": interval, "start": start, "end": end}
        with self.connection() as connection, connection.transaction():
            connection.execute(sql.ONE_PICTURE)
            connection.execute(sql.NO_DAY_LEAVES)
            candles = _all(connection, Candle, sql.CANDLE, bound)
            if not candles:
                return None
            rows = _all(connection, StoredRow, sql.EVENTS, bound | {"limit": MAX_EVENTS + 1})
            is_cold = bool((connection.execute(sql.IS_COLD, bound).fetchone() or {})["is_cold"])
            events, batches = _placed(connection, judged(rows[:MAX_EVENTS], interval))
            backfills = _all(connection, Backfill, sql.BACKFILLS, bound)
            runs, total = _runs(connection, bound, batches)
        is_complete = not is_cold and len(rows) <= MAX_EVENTS
        used = [event.judged.row for event in events if event.judged.is_used]
        differs = differing(candles[0], used) if is_complete else ()
        return Lineage(
            candle=candles[0],
            window_end=end,
            events=tuple(events),
            batches=tuple(batches),
            backfills=tuple(backfills),
            runs=tuple(runs),
            runs_total=total,
            is_complete=is_complete,
            differs=differs,
            notes=tuple(_notes(start, events, batches, is_cold, len(rows) > MAX_EVENTS, differs)),
        )


def _all(connection: Connection, row: type[Row], statement: str, bound: dict[str, Any]) -> list[Row]:
    with connection.cursor(row_factory=class_row(row)) as cursor:
        return cursor.execute(statement, bound).fetchall()


def _placed(connection: Connection, events: Sequence[JudgedEvent]) -> tuple[list[PlacedEvent], list[LedgerBatch]]:
    """Each event with its batch, in the order given; and the batches in the order of their commits."""
    ledger = _Ledger(connection)
    batches = {id(row): ledger.batch_of(row) for row in sorted((each.row for each in events), key=arrival)}
    placed = [
        PlacedEvent(each, _topic(each.row) if each.row.is_by_kafka else None, batches[id(each.row)]) for each in events
    ]
    return placed, sorted(ledger.found, key=lambda batch: (batch.committed_at, batch.query_name, batch.batch_id))


class _Ledger:
    """Looks for the batches of events that are asked for by growing offset, many batches at a time."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        #: Of each partition the batches that come next, from the last that was found on.
        self._ahead: dict[int | None, list[LedgerBatch]] = {}
        self._misses = 0
        self.found: list[LedgerBatch] = []

    def batch_of(self, row: StoredRow) -> LedgerBatch | None:
        if not row.is_by_kafka:
            return None
        topic = _topic(row)
        ahead = self._ahead.get(row.kafka_partition, [])
        place = next((n for n, batch in enumerate(ahead) if batch.stored(topic, row)), None)
        if place is None:
            since = row.ingested_at - CLOCKS_APART
            if ahead:
                since = max(since, ahead[0].committed_at)
            looked = self._look(row, topic, since)
            place = next((n for n, batch in enumerate(looked) if batch.stored(topic, row)), None)
            if place is None:
                return None
            ahead = looked
        self._ahead[row.kafka_partition] = ahead[place:]
        return self._kept(ahead[place])

    def _look(self, row: StoredRow, topic: str, since: datetime) -> list[LedgerBatch]:
        """The event's batch and those after it; where it is not near, further on, but not for every event."""
        if len(self.found) >= MAX_BATCHES:
            return []
        bound = {
            "query_name": f"events_{row.asset_class}",
            "topic": topic,
            "partition": str(row.kafka_partition),
            "offset": row.kafka_offset,
            "event_time": row.event_time,
            "since": since,
            "ahead": AHEAD,
        }
        near = _all(self._connection, LedgerBatch, sql.BATCHES, bound | {"until": since + NEAR})
        if near or self._misses >= MISSES_SOUGHT:
            return near
        far = _all(self._connection, LedgerBatch, sql.BATCHES, bound | {"since": since + NEAR, "until": "infinity"})
        self._misses += not far
        return far

    def _kept(self, batch: LedgerBatch) -> LedgerBatch | None:
        """The one object for this batch, which may be known by records of another partition."""
        for known in reversed(self.found):
            if known == batch:
                return known
        if len(self.found) >= MAX_BATCHES:
            return None
        self.found.append(batch)
        return batch


def _topic(row: StoredRow) -> str:
    asset_class: AssetClass = "stock" if row.asset_class == "stock" else "crypto"
    return EVENTS[asset_class]


def _runs(
    connection: Connection, bound: dict[str, Any], batches: Sequence[LedgerBatch]
) -> tuple[list[CoveringRun], int]:
    """The newest runs over the window with their findings, and how many there are in all."""
    rows = connection.execute(sql.RUNS, bound | {"limit": RUNS_SHOWN}).fetchall()
    total = rows[0]["total"] if rows else 0
    runs = [CoveringRun(**{name: value for name, value in row.items() if name != "total"}) for row in rows]
    failed = connection.execute(sql.FAILED, bound | {"runs": [run.run_id for run in runs]}).fetchall()
    found = findings_by_run(failed, bound["symbol"], (bound["start"], bound["end"]), batches)
    return [replace(run, findings=tuple(found.get(run.run_id, ()))) for run in runs], total


def _notes(
    start: datetime,
    events: Sequence[PlacedEvent],
    batches: Sequence[LedgerBatch],
    is_cold: bool,
    is_cut: bool,
    differs: Sequence[str],
) -> Iterable[str]:
    """What a reader must know, in words."""
    if is_cold:
        yield (
            f"the raw events of {start:%Y-%m-%d} are only in the archive: bring them back with "
            f"./pipeline archive restore {start:%Y-%m-%d} to see them here"
        )
    if is_cut:
        yield f"the window has more than {MAX_EVENTS:,} events: these are its first"
    if any(event.kafka_topic is None for event in events):
        yield "events without a Kafka offset came by a backfill, not by the stream"
    lost = sum(event.kafka_topic is not None and event.batch is None for event in events)
    if lost and len(batches) == MAX_BATCHES:
        yield f"only the first {MAX_BATCHES} batches are looked for: {lost} events have theirs behind them"
    elif lost:
        yield f"no batch was found in the ledger for {lost} of the events"
    if any(not event.judged.row.quarantine_shown for event in events):
        yield "the candle does not show yet what was held or released: it is counted again within minutes"
    if differs:
        yield f"the events do not give this candle's {', '.join(differs)}: it is being counted again, or was altered"
