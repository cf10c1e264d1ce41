"""The stream's side of the warehouse: one transaction a batch, fenced, COPY in and out, Arrow all the way."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date, datetime
from operator import itemgetter
from typing import Any

import psycopg
import pyarrow as pa
import pyarrow.compute as pc
from psycopg.rows import dict_row
from psycopg.sql import SQL

from include.errors import LeaseLost, MarketDataError
from include.market.event import AssetClass
from include.storage import history_sql, stream_figures_sql
from include.storage import stream_sql as sql
from include.storage.archive_catalogue import EVENTS, cold_days, refuse_cold
from include.storage.cache import LatestPrice
from include.storage.database import libpq_url
from include.storage.history_store import HistoryTables
from include.storage.lease import APPLICATION, application_name
from include.storage.stream_copy import copy_in, copy_out
from include.storage.stream_figures import FigureTables
from include.storage.stream_sql import EVENT_COLUMNS

__all__ = ["EVENT_COLUMNS", "NO_EPOCH", "Batch", "CheckpointSetBack", "Offsets", "StreamStore"]

#: `{topic: {partition: [first, last + 1]}}`
Offsets = dict[str, dict[str, list[int]]]

_EVENTS = EVENT_COLUMNS.split(", ")
_COORDINATES = pa.schema([("kafka_partition", pa.int32()), ("kafka_offset", pa.int64())])
#: Of whoever takes no lease: it writes candles and what follows from them, under a lock.
NO_EPOCH = 0
#: More partitions than a topic has, and room for every offset: both in one number.
_PARTITIONS_LIMIT = 2**15


class CheckpointSetBack(MarketDataError):
    """A batch number that the ledger has comes again with other records: the checkpoint is an old copy."""


class Batch:
    """One open transaction. Use through `StreamStore.batch`.

    `figures` has its candles and what follows from them, `history` bars that were asked for once more.
    """

    def __init__(
        self,
        cursor: psycopg.Cursor[dict[str, Any]],
        query_name: str,
        checkpoint_id: str = "",
        held_offsets: Offsets | None = None,
    ) -> None:
        self._cursor = cursor
        self._query_name = query_name
        self._names = {"query_name": query_name, "checkpoint_id": checkpoint_id}
        self.figures = FigureTables(cursor)
        self.history = HistoryTables(cursor)
        #: The offsets that the ledger has for this batch; None if it was never committed.
        self.held_offsets = held_offsets

    def add_events(self, valid: pa.Table) -> pa.Table:
        """Store the events (`EVENT_COLUMNS` and more) that are not held yet; gives those rows.

        The first delivery of an event_id stays, by Kafka partition and offset; every repeat is ignored. A
        batch without a repeat, as nearly all are, is copied straight into the table.
        """
        if valid.num_rows == 0:
            return valid
        days = pc.unique(valid["event_time"].cast(pa.date32())).to_pylist()
        self.make_days(days)
        if not self._any_repeat(valid):
            copy_in(self._cursor, f"market_events ({EVENT_COLUMNS})", valid.select(_EVENTS))
            return valid
        return self._new_of(valid, sql.INSERT_NEW)

    def make_days(self, days: Sequence[date]) -> None:
        """So that events of these UTC days have a place."""
        self._cursor.execute(sql.PARTITIONS, (list(days),))

    def of_held_days(self, new: pa.Table) -> pa.Table:
        """Without the events of days that are in the archive only: a candle from them alone would be wrong."""
        if new.num_rows == 0:
            return new
        days = new["event_time"].cast(pa.date32())
        cold = cold_days(self._cursor.connection, EVENTS, *pc.min_max(days).as_py().values())
        return new.filter(pc.invert(pc.is_in(days, pa.array(cold, pa.date32())))) if cold else new

    def refuse_cold(self, first: date, last: date) -> None:
        """Raises DayIsCold where events from first to last, both included, are in the archive only."""
        refuse_cold(self._cursor.connection, EVENTS, first, last)

    def recall_events(self, valid: pa.Table) -> pa.Table:
        """For a batch that was committed before: the events that it added then. Writes nothing."""
        return self._new_of(valid, sql.RECALL_NEW)

    def add_dead_letters(self, refused: pa.Table) -> int:
        """Store refused records (topic, kafka_partition, kafka_offset, symbol, source, reason, payload)."""
        if refused.num_rows:
            copy_in(self._cursor, f"staged_refused ({', '.join(refused.column_names)})", refused)
            self._cursor.execute(sql.DEAD_LETTERS, self._names)
        return int(refused.num_rows)

    def newest_event_time(self) -> datetime | None:
        """The newest event time of this query's earlier batches, under any checkpoint."""
        row = self._cursor.execute(sql.NEWEST_EVENT_TIME, (self._query_name,)).fetchone()
        return row["newest"] if row else None

    def add_late(self, new: pa.Table, watermark: datetime | None) -> int:
        """Record new events that are older than the watermark; they are stored and counted like any other."""
        if watermark is None:
            return 0
        late = new.filter(pc.less(new["event_time"], pa.scalar(watermark, new.schema.field("event_time").type)))
        if late.num_rows:
            columns = ["event_id", "symbol", "event_time", "topic", "kafka_partition", "kafka_offset"]
            copy_in(self._cursor, f"staged_late ({sql.LATE_COLUMNS})", late.select(columns))
            self._cursor.execute(sql.LATE, {**self._names, "watermark": watermark})
        return int(late.num_rows)

    def latest_prices(self, new: pa.Table) -> list[LatestPrice]:
        """The newest price of each symbol among these events."""
        copy_in(self._cursor, f"staged_prices ({sql.PRICE_COLUMNS})", _newest_of_each_symbol(new))
        return [LatestPrice(**row) for row in self._cursor.execute(sql.LATEST).fetchall()]

    def close_ledger(self, batch_id: int, epoch: int, facts: dict[str, Any]) -> None:
        """The batch's row in the ledger; `facts` are its remaining columns."""
        row = {**self._names, "batch_id": batch_id, "epoch": epoch}
        self._cursor.execute(sql.LEDGER, {**row, **facts, "offsets": json.dumps(facts["offsets"])})

    def seconds_silent(self) -> float | None:
        """How long this query has had no record; None if it never had one, or none for a day."""
        row = self._cursor.execute(sql.SILENT_SECONDS, (self._query_name,)).fetchone()
        return row["seconds"] if row else None

    def _any_repeat(self, valid: pa.Table) -> bool:
        ids = valid["event_id"].combine_chunks()
        if pc.count_distinct(ids).as_py() < len(ids):
            return True
        times = pc.min_max(valid["event_time"]).as_py()
        joined = pc.binary_join(pa.ListArray.from_arrays(pa.array([0, len(ids)], pa.int32()), ids), "\n")[0].as_py()
        bound = {"ids": joined, "first": times["min"], "last": times["max"]}
        row = self._cursor.execute(sql.ANY_HELD, bound).fetchone()
        return bool(row and row["held"])

    def _new_of(self, valid: pa.Table, statement: str) -> pa.Table:
        copy_in(self._cursor, f"staged_events ({EVENT_COLUMNS})", valid.select(_EVENTS))
        self._cursor.execute(statement)
        new = copy_out(self._cursor, sql.NEW_EVENTS, _COORDINATES)
        return valid.filter(pc.is_in(_coordinate(valid), _coordinate(new)))


class StreamStore:
    """One query's connection to the warehouse; reconnects after a failure."""

    def __init__(self, database_url: str, epoch: int) -> None:
        self._url = libpq_url(database_url)
        self._epoch = epoch
        self._connection: psycopg.Connection[dict[str, Any]] | None = None

    @contextmanager
    def batch(self, query_name: str, checkpoint_id: str, batch_id: int) -> Iterator[Batch]:
        """The batch's transaction, committed at the end.

        Raises LeaseLost when the epoch is not ours any more. The fence row stays share-locked until the
        commit, so a successor cannot take over between the check and the commit.
        """
        with self._fenced() as cursor:
            held = cursor.execute(sql.HELD_BATCH, (query_name, checkpoint_id, batch_id)).fetchone()
            yield Batch(cursor, query_name, checkpoint_id, held["offsets"] if held else None)

    @contextmanager
    def between_batches(self, query_name: str) -> Iterator[Batch]:
        """A fenced transaction that belongs to no batch."""
        with self._fenced() as cursor:
            yield Batch(cursor, query_name)

    @contextmanager
    def recomputation(self, query_name: str) -> Iterator[Batch]:
        """A transaction that writes candles and what follows from them, while every other writer of them waits.

        It needs no lease: a batch takes its own lock before it reads, so neither works on what the other changes.
        """
        connection = self._connected()
        with connection.transaction(), connection.cursor() as cursor:
            cursor.execute(sql.LOCK_CANDLES)
            cursor.execute(sql.KEEP_DAYS)
            yield Batch(cursor, query_name)

    def send_anomalies(self, send: Callable[[list[dict[str, Any]]], None], limit: int = 1_000) -> int:
        """Hand the outbox's oldest bodies to `send`, which returns when they are confirmed; how many.

        At least once: after a crash between the two the same bodies come again, with the same `anomaly_id`.
        """
        connection = self._connected()
        with connection.transaction(), connection.cursor() as cursor:
            rows = cursor.execute(sql.TAKE_UNSENT, (limit,)).fetchall()
            if rows:
                send([row["body"] for row in sorted(rows, key=itemgetter("id"))])
        return len(rows)

    def repairs(self) -> list[tuple[str, str]]:
        """The (symbol, interval) whose indicators wait to be computed again in batch."""
        rows = self._connected().execute(stream_figures_sql.REPAIRS).fetchall()
        return [(row["symbol"], row["interval"]) for row in rows]

    def quarantined_days(self) -> list[tuple[date, AssetClass]]:
        """Days whose candles do not show yet what was held or released, but for those that are in the archive only."""
        rows = self._connected().execute(stream_figures_sql.QUARANTINED_DAYS).fetchall()
        return [(row["day"], row["asset_class"]) for row in rows]

    def all_latest_prices(self, asset_class: AssetClass) -> list[LatestPrice]:
        """The newest price of every symbol that has a candle."""
        rows = self._connected().execute(sql.ALL_LATEST, {"asset_class": asset_class}).fetchall()
        return [LatestPrice(**row) for row in rows]

    def has_batches(self, query_name: str) -> bool:
        """Whether the ledger knows this query."""
        row = self._connected().execute(sql.HAS_BATCHES, (query_name,)).fetchone()
        return bool(row and row["known"])

    def last_batch(self, query_name: str, checkpoint_id: str) -> int | None:
        """The newest batch that the ledger has of this checkpoint."""
        row = self._connected().execute(sql.LAST_BATCH, (query_name, checkpoint_id)).fetchone()
        return row["batch_id"] if row else None

    def known_topic(self, query_name: str, checkpoint_id: str) -> str | None:
        """The id of the topic that this checkpoint's offsets count."""
        rows = self._connected().execute(sql.KNOWN_CHECKPOINTS, (query_name,)).fetchall()
        return next((row["topic_id"] for row in rows if row["checkpoint_id"] == checkpoint_id), None)

    def know_checkpoint(self, query_name: str, checkpoint_id: str, topic_id: str) -> None:
        self._connected().execute(sql.KNOW_CHECKPOINT, (query_name, checkpoint_id, topic_id))

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()

    @contextmanager
    def _fenced(self) -> Iterator[psycopg.Cursor[dict[str, Any]]]:
        connection = self._connected()
        with connection.transaction(), connection.cursor() as cursor:
            if cursor.execute(sql.FENCE, (APPLICATION, self._epoch)).fetchone() is None:
                raise LeaseLost(f"epoch {self._epoch} of {APPLICATION} is over: another driver has taken the lease")
            cursor.execute(sql.SHARE_CANDLES)
            yield cursor

    def _connected(self) -> psycopg.Connection[dict[str, Any]]:
        if self._connection is None or self._connection.closed:
            self._connection = psycopg.connect(
                self._url,
                autocommit=True,
                row_factory=dict_row,
                connect_timeout=10,
                application_name=application_name(self._epoch) if self._epoch else "recompute",
            )
            for statement in (sql.SESSION, sql.STAGING, stream_figures_sql.STAGING, history_sql.STAGING):
                self._connection.execute(SQL(statement))
        return self._connection


def _coordinate(rows: pa.Table) -> pa.ChunkedArray:
    partition = rows["kafka_partition"].cast(pa.int64())
    return pc.add(pc.multiply(rows["kafka_offset"], _PARTITIONS_LIMIT), partition)


def _newest_of_each_symbol(new: pa.Table) -> pa.Table:
    """By the time at which the price held (a bar's end), then by Kafka's order."""
    micros = new["event_time"].cast(pa.int64())
    length = pc.multiply(new["interval_seconds"].cast(pa.int64()), 1_000_000)
    keyed = pa.table(
        {
            "symbol": new["symbol"],
            "as_of": pc.add(micros, length),
            "kafka_offset": new["kafka_offset"],
            "row": pa.array(range(0), pa.int64()) if new.num_rows == 0 else pa.arange(0, new.num_rows),
        }
    )
    order = keyed.sort_by([("as_of", "ascending"), ("kafka_offset", "ascending")])
    last = order.group_by("symbol", use_threads=False).aggregate([("row", "last")])
    return new.take(last["row_last"]).select(sql.PRICE_COLUMNS.split(", "))
