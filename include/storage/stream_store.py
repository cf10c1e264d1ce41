"""The stream's side of the warehouse: one transaction a batch, fenced, COPY in and out, Arrow all the way."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import psycopg
import pyarrow as pa
from psycopg.rows import dict_row
from psycopg.sql import SQL, Composed, Literal
from pyarrow import csv

from include.errors import LeaseLost, MarketDataError
from include.market.event import AssetClass
from include.storage import stream_sql as sql
from include.storage.cache import LatestPrice
from include.storage.database import libpq_url
from include.storage.lease import APPLICATION
from include.storage.stream_sql import EVENT_COLUMNS

__all__ = ["EVENT_COLUMNS", "TOUCHED_SCHEMA", "Batch", "CheckpointSetBack", "Offsets", "StreamStore"]

#: `{topic: {partition: [first, last + 1]}}`
Offsets = dict[str, dict[str, list[int]]]

#: What `touched_events` gives to the candle transform.
TOUCHED_SCHEMA = pa.schema(
    [
        ("event_id", pa.string()),
        ("symbol", pa.string()),
        ("source", pa.string()),
        ("kind", pa.string()),
        ("event_time", pa.timestamp("us", tz="UTC")),
        ("interval_seconds", pa.int32()),
        *((name, pa.decimal128(18, 8)) for name in ("open", "high", "low", "close")),
        ("volume", pa.decimal128(28, 8)),
        ("kafka_partition", pa.int32()),
        ("kafka_offset", pa.int64()),
        ("revision", pa.int32()),
    ]
)


class CheckpointSetBack(MarketDataError):
    """A batch number that the ledger has comes again with other records: the checkpoint is an old copy."""


class Batch:
    """One open transaction. Use through `StreamStore.batch`."""

    def __init__(
        self, cursor: psycopg.Cursor[dict[str, Any]], query_name: str, held_offsets: Offsets | None = None
    ) -> None:
        self._cursor = cursor
        self._query_name = query_name
        #: The offsets that the ledger has for this batch; None if it was never committed.
        self.held_offsets = held_offsets

    def add_events(self, valid: pa.Table) -> int:
        """Store valid events (`EVENT_COLUMNS` and topic) that are not held yet; how many were new.

        The first delivery of an event_id stays, by Kafka partition and offset; every repeat is ignored.
        """
        self._copy_in(f"staged_events ({EVENT_COLUMNS}, topic)", valid)
        self._cursor.execute(sql.PARTITIONS)
        self._cursor.execute(sql.INSERT_NEW)
        return self._cursor.rowcount

    def recall_events(self, valid: pa.Table) -> None:
        """For a batch that was committed before: find the events that it added then, write nothing."""
        self._copy_in(f"staged_events ({EVENT_COLUMNS}, topic)", valid)
        self._cursor.execute(sql.RECALL_NEW)

    def add_dead_letters(self, refused: pa.Table) -> int:
        """Store refused records (topic, kafka_partition, kafka_offset, symbol, source, reason, payload)."""
        if refused.num_rows:
            self._copy_in(f"staged_refused ({', '.join(refused.column_names)})", refused)
            self._cursor.execute(sql.DEAD_LETTERS)
        return int(refused.num_rows)

    def newest_event_time(self) -> datetime | None:
        """The newest event time of this query's earlier batches, under any checkpoint."""
        row = self._cursor.execute(sql.NEWEST_EVENT_TIME, (self._query_name,)).fetchone()
        return row["newest"] if row else None

    def add_late(self, watermark: datetime | None) -> int:
        """Record new events that are older than the watermark; they are stored and counted like any other."""
        if watermark is None:
            return 0
        self._cursor.execute(sql.LATE, {"watermark": watermark})
        return self._cursor.rowcount

    def touched_events(self) -> pa.Table:
        """All events of the longest windows that a new event falls into (TOUCHED_SCHEMA, all revisions)."""
        return self._copy_out(SQL(sql.TOUCHED))

    def events_between(self, start: datetime, end: datetime, asset_class: AssetClass) -> pa.Table:
        """All events with start <= event_time < end (TOUCHED_SCHEMA, all revisions)."""
        statement = SQL(sql.EVENTS_BETWEEN).format(
            asset_class=Literal(asset_class), start=Literal(start), end=Literal(end)
        )
        return self._copy_out(statement)

    def upsert_candles(self, candles: pa.Table, watermark: datetime | None, asset_class: AssetClass) -> int:
        """Replace what differs, close the windows that the watermark has passed; how many rows changed."""
        bound = {"watermark": watermark, "asset_class": asset_class}
        self._copy_in(f"staged_candles ({sql.CANDLE_COLUMNS})", candles)
        self._cursor.execute(sql.UPSERT_CANDLES, bound)
        changed = self._cursor.rowcount
        if watermark is not None:
            self._cursor.execute(sql.FINALISE, bound)
            changed += self._cursor.rowcount
        return changed

    def latest_prices(self) -> list[LatestPrice]:
        """The newest price of each symbol among the events that this batch added."""
        return [LatestPrice(**row) for row in self._cursor.execute(sql.LATEST).fetchall()]

    def close_ledger(self, checkpoint_id: str, batch_id: int, epoch: int, facts: dict[str, Any]) -> None:
        """The batch's row in the ledger; `facts` are its remaining columns."""
        row = {"query_name": self._query_name, "checkpoint_id": checkpoint_id, "batch_id": batch_id, "epoch": epoch}
        self._cursor.execute(sql.LEDGER, {**row, **facts, "offsets": json.dumps(facts["offsets"])})

    def _copy_in(self, target: str, table: pa.Table) -> None:
        if table.num_rows == 0:
            return
        buffer = io.BytesIO()
        csv.write_csv(table, buffer, csv.WriteOptions(include_header=False, quoting_style="needed"))
        with self._cursor.copy(f"COPY {target} FROM STDIN (FORMAT csv)") as copy:
            copy.write(buffer.getbuffer())

    def _copy_out(self, statement: SQL | Composed) -> pa.Table:
        with self._cursor.copy(statement) as copy:
            body = b"".join(bytes(part) for part in copy)
        options = csv.ConvertOptions(
            column_types=TOUCHED_SCHEMA, strings_can_be_null=True, quoted_strings_can_be_null=False
        )
        return csv.read_csv(io.BytesIO(body), convert_options=options)


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
        connection = self._connected()
        with connection.transaction(), connection.cursor() as cursor:
            if cursor.execute(sql.FENCE, (APPLICATION, self._epoch)).fetchone() is None:
                raise LeaseLost(f"epoch {self._epoch} of {APPLICATION} is over: another driver has taken the lease")
            held = cursor.execute(sql.HELD_BATCH, (query_name, checkpoint_id, batch_id)).fetchone()
            yield Batch(cursor, query_name, held["offsets"] if held else None)

    @contextmanager
    def recomputation(self, query_name: str) -> Iterator[Batch]:
        """A transaction that writes candles only, while every other writer of candles waits.

        It needs no lease: what it reads is committed, and a batch that waits has read more, not less.
        """
        connection = self._connected()
        with connection.transaction(), connection.cursor() as cursor:
            cursor.execute(sql.LOCK_CANDLES)
            yield Batch(cursor, query_name)

    def has_batches(self, query_name: str) -> bool:
        """Whether the ledger knows this query."""
        row = self._connected().execute(sql.HAS_BATCHES, (query_name,)).fetchone()
        return bool(row and row["known"])

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()

    def _connected(self) -> psycopg.Connection[dict[str, Any]]:
        if self._connection is None or self._connection.closed:
            self._connection = psycopg.connect(self._url, autocommit=True, row_factory=dict_row, connect_timeout=10)
            self._connection.execute(sql.SESSION)
            self._connection.execute(sql.STAGING)
        return self._connection
