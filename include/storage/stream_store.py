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
from pyarrow import csv

from include.errors import LeaseLost
from include.market.candle import FIGURES, KEY, LONGEST_SECONDS
from include.storage.cache import LatestPrice
from include.storage.database import libpq_url
from include.storage.lease import APPLICATION

EVENT_COLUMNS = (
    "event_id, symbol, asset_class, source, kind, event_time, interval_seconds, open, high, low, close, "
    "volume, currency, ingested_at, kafka_partition, kafka_offset"
)
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
# A driver that froze inside a batch must not hold the fence against its successor.
_SESSION = """
SET idle_in_transaction_session_timeout = '60s';
SET lock_timeout = '30s';
SET statement_timeout = '120s';
"""
_STAGING = f"""
CREATE TEMP TABLE staged_events ON COMMIT DROP AS
SELECT {EVENT_COLUMNS}, NULL::text AS topic FROM market_events WITH NO DATA;
CREATE TEMP TABLE new_events (event_id text, symbol text, event_time timestamptz) ON COMMIT DROP;
CREATE TEMP TABLE staged_candles ON COMMIT DROP AS
SELECT {", ".join((*KEY, *FIGURES))} FROM candles WITH NO DATA;
"""
_INSERT_NEW = f"""
WITH first_delivery AS (
    SELECT DISTINCT ON (event_id) {EVENT_COLUMNS} FROM staged_events
    WHERE NOT EXISTS (
        SELECT 1 FROM market_events held
        WHERE held.event_id = staged_events.event_id AND held.event_time = staged_events.event_time)
    ORDER BY event_id, kafka_partition, kafka_offset
), inserted AS (
    INSERT INTO market_events ({EVENT_COLUMNS}) SELECT {EVENT_COLUMNS} FROM first_delivery
    ON CONFLICT DO NOTHING RETURNING event_id, symbol, event_time
)
INSERT INTO new_events SELECT event_id, symbol, event_time FROM inserted
"""
_LATE = """
INSERT INTO late_events (event_id, symbol, event_time, kafka_topic, kafka_partition, kafka_offset, reason, watermark)
SELECT s.event_id, s.symbol, s.event_time, s.topic, s.kafka_partition, s.kafka_offset,
       'older than the watermark', %(watermark)s
FROM staged_events s JOIN new_events n USING (event_id)
WHERE s.event_time < %(watermark)s
ON CONFLICT DO NOTHING
"""
# The constant bounds let PostgreSQL leave out the partitions of other days.
_TOUCHED = """
COPY (
    SELECT e.event_id, e.symbol, e.source, e.kind, e.event_time, e.interval_seconds,
           e.open, e.high, e.low, e.close, e.volume, e.kafka_partition, e.kafka_offset, e.revision
    FROM current_events e
    JOIN (SELECT DISTINCT symbol, date_bin('{span} seconds', event_time, 'epoch') AS start FROM new_events) touched
      ON e.symbol = touched.symbol
     AND e.event_time >= touched.start AND e.event_time < touched.start + interval '{span} seconds'
    WHERE e.event_time >= '{first}' AND e.event_time < '{last}'::timestamptz + interval '{span} seconds'
) TO STDOUT (FORMAT csv, HEADER)
"""
_UPSERT_CANDLES = f"""
INSERT INTO candles AS held ({", ".join((*KEY, *FIGURES))}, asset_class, is_final, updated_at)
SELECT {", ".join((*KEY, *FIGURES))}, %(asset_class)s, {{final}}, now() FROM staged_candles
ON CONFLICT (symbol, interval, window_start) DO UPDATE SET
    {", ".join(f"{name} = excluded.{name}" for name in FIGURES)},
    is_final = excluded.is_final OR held.is_final, updated_at = now()
WHERE ({", ".join(f"held.{name}" for name in FIGURES)}, held.is_final)
   IS DISTINCT FROM ({", ".join(f"excluded.{name}" for name in FIGURES)}, excluded.is_final OR held.is_final)
"""
_WINDOW_END = "window_start + CASE interval WHEN '1m' THEN interval '1 minute' ELSE interval '5 minutes' END"
_FINALISE = f"""
UPDATE candles SET is_final = true, updated_at = now()
WHERE NOT is_final AND asset_class = %(asset_class)s AND {_WINDOW_END} <= %(watermark)s
"""
_LATEST = """
SELECT DISTINCT ON (s.symbol) s.symbol, s.close AS price, s.source, s.currency,
       (extract(epoch FROM s.event_time) * 1000000)::bigint AS event_time,
       (extract(epoch FROM s.event_time) * 1000000)::bigint + s.interval_seconds * 1000000::bigint AS as_of,
       round((s.close / reference.price - 1) * 100, 4) AS change_pct
FROM staged_events s
LEFT JOIN LATERAL (
    SELECT coalesce(
        (SELECT c.close FROM candles c WHERE c.symbol = s.symbol AND c.interval = '1m'
          AND c.window_start < date_trunc('day', s.event_time, 'UTC') ORDER BY c.window_start DESC LIMIT 1),
        (SELECT c.open FROM candles c WHERE c.symbol = s.symbol AND c.interval = '1m'
          AND c.window_start >= date_trunc('day', s.event_time, 'UTC') ORDER BY c.window_start LIMIT 1)
    ) AS price) reference ON true
ORDER BY s.symbol, as_of DESC, s.kafka_offset DESC
"""


class Batch:
    """One open transaction. Use through `StreamStore.batch`."""

    def __init__(self, cursor: psycopg.Cursor[dict[str, Any]], query_name: str) -> None:
        self._cursor = cursor
        self._query_name = query_name

    def add_events(self, valid: pa.Table) -> int:
        """Stage valid events (`EVENT_COLUMNS` and topic), store those not held yet; how many were new."""
        self._cursor.execute(_STAGING)
        self._copy_in(f"staged_events ({EVENT_COLUMNS}, topic)", valid)
        self._cursor.execute(
            "SELECT market.ensure_event_partitions(array_agg(DISTINCT (event_time AT TIME ZONE 'UTC')::date)) "
            "FROM staged_events HAVING count(*) > 0"
        )
        self._cursor.execute(_INSERT_NEW)
        return self._cursor.rowcount

    def add_dead_letters(self, refused: pa.Table) -> int:
        """Store refused records (topic, kafka_partition, kafka_offset, symbol, source, reason, payload)."""
        if refused.num_rows == 0:
            return 0
        self._cursor.execute(
            "CREATE TEMP TABLE staged_refused (topic text, kafka_partition int, kafka_offset bigint, symbol text, "
            "source text, reason text, payload text) ON COMMIT DROP"
        )
        self._copy_in("staged_refused", refused)
        self._cursor.execute(
            "INSERT INTO dead_letters (topic, kafka_partition, kafka_offset, symbol, source, reason, payload) "
            "SELECT topic, kafka_partition, kafka_offset, symbol, source, reason, decode(payload, 'hex') "
            "FROM staged_refused ON CONFLICT DO NOTHING"
        )
        return int(refused.num_rows)

    def newest_event_time(self) -> datetime | None:
        """The newest event time of this query's earlier batches, under any checkpoint."""
        row = self._cursor.execute(
            "SELECT max(max_event_time) AS newest FROM stream_batches WHERE query_name = %s",
            (self._query_name,),
        ).fetchone()
        return row["newest"] if row else None

    def add_late(self, watermark: datetime | None) -> int:
        """Record new events that are older than the watermark; they are stored and counted like any other."""
        if watermark is None:
            return 0
        self._cursor.execute(_LATE, {"watermark": watermark})
        return self._cursor.rowcount

    def touched_events(self) -> pa.Table:
        """All current events of the longest windows that a new event falls into (TOUCHED_SCHEMA)."""
        bounds = self._cursor.execute(
            "SELECT min(start)::text AS first, max(start)::text AS last FROM "
            "(SELECT date_bin(make_interval(secs => %s), event_time, 'epoch') AS start FROM new_events) spans",
            (LONGEST_SECONDS,),
        ).fetchone()
        if bounds is None or bounds["first"] is None:
            return TOUCHED_SCHEMA.empty_table()
        with self._cursor.copy(_TOUCHED.format(span=LONGEST_SECONDS, **bounds)) as copy:
            body = b"".join(bytes(part) for part in copy)
        options = csv.ConvertOptions(
            column_types=TOUCHED_SCHEMA, strings_can_be_null=True, quoted_strings_can_be_null=False
        )
        return csv.read_csv(io.BytesIO(body), convert_options=options)

    def upsert_candles(self, candles: pa.Table, watermark: datetime | None, asset_class: str) -> None:
        """Replace what differs; close the windows that the watermark has passed."""
        self._copy_in(f"staged_candles ({', '.join((*KEY, *FIGURES))})", candles)
        final = f"({_WINDOW_END} <= %(watermark)s)" if watermark else "false"
        self._cursor.execute(_UPSERT_CANDLES.format(final=final), {"watermark": watermark, "asset_class": asset_class})
        if watermark is not None:
            self._cursor.execute(_FINALISE, {"watermark": watermark, "asset_class": asset_class})

    def latest_prices(self) -> list[LatestPrice]:
        """The newest price of each symbol among this batch's valid events."""
        return [LatestPrice(**row) for row in self._cursor.execute(_LATEST).fetchall()]

    def close_ledger(self, checkpoint_id: str, batch_id: int, epoch: int, facts: dict[str, Any]) -> None:
        """The batch's row in the ledger; `facts` are its remaining columns."""
        self._cursor.execute(
            "INSERT INTO stream_batches (query_name, checkpoint_id, batch_id, epoch, offsets, rows_in, rows_new, "
            "rows_dead_lettered, rows_late, max_event_time) VALUES (%(query_name)s, %(checkpoint_id)s, "
            "%(batch_id)s, %(epoch)s, %(offsets)s, %(rows_in)s, %(rows_new)s, %(rows_dead_lettered)s, "
            "%(rows_late)s, %(max_event_time)s)",
            {
                **facts,
                "offsets": json.dumps(facts["offsets"]),
                "query_name": self._query_name,
                "checkpoint_id": checkpoint_id,
                "batch_id": batch_id,
                "epoch": epoch,
            },
        )

    def _copy_in(self, target: str, table: pa.Table) -> None:
        if table.num_rows == 0:
            return
        buffer = io.BytesIO()
        csv.write_csv(table, buffer, csv.WriteOptions(include_header=False, quoting_style="needed"))
        with self._cursor.copy(f"COPY {target} FROM STDIN (FORMAT csv)") as copy:
            copy.write(buffer.getbuffer())


class StreamStore:
    """One query's connection to the warehouse; reconnects after a failure."""

    def __init__(self, database_url: str, epoch: int) -> None:
        self._url = libpq_url(database_url)
        self._epoch = epoch
        self._connection: psycopg.Connection[dict[str, Any]] | None = None

    @contextmanager
    def batch(self, query_name: str, checkpoint_id: str, batch_id: int) -> Iterator[Batch | None]:
        """The batch's transaction, committed at the end; None if the ledger has this batch already.

        Raises LeaseLost when the epoch is not ours any more. The fence row stays share-locked until the
        commit, so a successor cannot take over between the check and the commit.
        """
        connection = self._connected()
        with connection.transaction(), connection.cursor() as cursor:
            lease = cursor.execute(
                "SELECT 1 FROM stream_fence WHERE application = %s AND epoch = %s FOR SHARE",
                (APPLICATION, self._epoch),
            ).fetchone()
            if lease is None:
                raise LeaseLost(f"epoch {self._epoch} of {APPLICATION} is over: another driver has taken the lease")
            done = cursor.execute(
                "SELECT 1 FROM stream_batches WHERE query_name = %s AND checkpoint_id = %s AND batch_id = %s",
                (query_name, checkpoint_id, batch_id),
            ).fetchone()
            yield None if done else Batch(cursor, query_name)

    def has_batches(self, query_name: str) -> bool:
        """Whether the ledger knows this query."""
        row = (
            self._connected()
            .execute("SELECT EXISTS (SELECT 1 FROM stream_batches WHERE query_name = %s) AS known", (query_name,))
            .fetchone()
        )
        return bool(row and row["known"])

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()

    def _connected(self) -> psycopg.Connection[dict[str, Any]]:
        if self._connection is None or self._connection.closed:
            self._connection = psycopg.connect(self._url, autocommit=True, row_factory=dict_row, connect_timeout=10)
            self._connection.execute(_SESSION)
        return self._connection
