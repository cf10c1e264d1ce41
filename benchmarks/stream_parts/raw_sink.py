"""Part (b): raw events into PostgreSQL, the stream's way beside psycopg's binary COPY of the same rows.

Three sides, each in transactions of BATCH rows, into tables with the same columns, checks, indexes, partitions and
durability: `sink` is `Batch.add_events` in a fenced transaction, look for repeats included; `rows` is psycopg's binary
COPY of Python rows that were made before the clock; `encoded` is a binary COPY of bytes that PostgreSQL itself wrote
before, and so what the server can take at most.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import psycopg
import pyarrow as pa
from psycopg.sql import SQL, Identifier

from benchmarks.stream_parts.cpu import cpu_seconds
from benchmarks.stream_parts.stores import Stores, stores
from benchmarks.stream_parts.topic import Block, trades
from include.errors import MarketDataError
from include.market.event import decode
from include.storage.lease import Lease
from include.storage.stream_store import EVENT_COLUMNS, StreamStore

BATCH = 50_000
ORDER = ("sink", "rows", "encoded", "encoded", "rows", "sink")
AIM = 0.85
#: Warms the connections and the code; its figures are thrown away.
WARM_BATCHES = 1
_COLUMNS = EVENT_COLUMNS.split(", ")
_TIME = pa.timestamp("us", "UTC")
_KINDS: dict[str, tuple[str, pa.DataType]] = {
    **dict.fromkeys(("event_time", "ingested_at"), ("timestamptz", _TIME)),
    **dict.fromkeys(("open", "high", "low", "close"), ("numeric", pa.decimal128(18, 8))),
    "volume": ("numeric", pa.decimal128(28, 8)),
    **dict.fromkeys(("interval_seconds", "kafka_partition"), ("int4", pa.int32())),
    "kafka_offset": ("int8", pa.int64()),
}
_SCHEMA = pa.schema([(name, _KINDS.get(name, ("text", pa.string()))[1]) for name in _COLUMNS])
_SUM = "SELECT count(*), coalesce(sum(hashtextextended(row({columns})::text, 0)::numeric), 0) FROM market.{table}"


@dataclass(frozen=True, slots=True)
class _Rows:
    """The same rows as each side takes them, in batches."""

    tables: list[pa.Table]
    tuples: list[list[tuple[Any, ...]]]
    encoded: list[bytes]


def run(count: int, rounds: int, say: Callable[[str], None]) -> dict[str, Any]:
    """`rounds` times A B C C B A (without rounds A B C); medians. Raises MarketDataError if tables differ."""
    order = ORDER * rounds or ORDER[: len(ORDER) // 2]
    with stores(say) as held, held.connect() as owner:
        owner.execute("SET synchronous_commit = on")
        say(f"making {count:,} rows")
        tables = _tables(count)
        tuples = [list(zip(*(column.to_pylist() for column in table.columns), strict=True)) for table in tables]
        for side in ("rows", "encoded"):
            _make_twin(owner, f"bench_{side}", tables)
        rows = _Rows(tables, tuples, _encoded(owner, tuples))
        expected = _expected(owner, tuples)
        lease = Lease(held.writer_url)
        epoch = lease.acquire(f"benchmark:{os.getpid()}", os.getpid())
        store = StreamStore(held.writer_url, epoch)
        runs: dict[str, list[dict[str, float]]] = {}
        try:
            for number, side in enumerate(order):
                say(f"{count:,} rows, run {number + 1} of {len(order)}: {side}")
                owner.execute("TRUNCATE market.market_events, market.bench_rows, market.bench_encoded")
                held.checkpoint()
                runs.setdefault(side, []).append(_timed(held, side, rows, store, owner))
                if (found := _sum(owner, side)) != expected:
                    raise MarketDataError(f"{side} stored {found}, and should have stored {expected}")
        finally:
            store.close()
            lease.release()
            lease.close()
    medians = {
        side: {name: statistics.median(one[name] for one in found) for name in found[0]} for side, found in runs.items()
    }
    return {
        "rows": count,
        "batch": BATCH,
        "order": order,
        "runs": runs,
        "medians": medians,
        "ratios": {
            f"sink/{side}": {
                name: round(medians["sink"][name] / medians[side][name], 3)
                for name in ("rows_per_second", "rows_per_cpu_second")
            }
            for side in ("rows", "encoded")
        },
        "aims": {"sink/rows": AIM, "sink/encoded": 0.6},
    }


def _timed(
    held: Stores, side: str, rows: _Rows, store: StreamStore, owner: psycopg.Connection[Any]
) -> dict[str, float]:
    """Rows a second of all batches but the first, by the clock and by CPU (ours and PostgreSQL's)."""
    write: Callable[[int], None] = {
        "sink": lambda number: _by_sink(store, rows.tables[number], number),
        "rows": lambda number: _by_rows(owner, rows.tuples[number]),
        "encoded": lambda number: _by_bytes(owner, rows.encoded[number]),
    }[side]
    root = {"postgres": held.pids["postgres"]}
    batches = len(rows.tables)
    for number in range(min(WARM_BATCHES, batches - 1)):
        write(number)
    first = min(WARM_BATCHES, batches - 1)
    counted = sum(table.num_rows for table in rows.tables[first:])
    before, own, began = cpu_seconds(root)["postgres"], time.process_time(), time.perf_counter()
    for number in range(first, batches):
        write(number)
    seconds = time.perf_counter() - began
    client, server = time.process_time() - own, cpu_seconds(root)["postgres"] - before
    return {
        "rows_per_second": round(counted / seconds),
        "rows_per_cpu_second": round(counted / (client + server)),
        "client_cpu_seconds": round(client, 3),
        "postgres_cpu_seconds": round(server, 3),
    }


def _by_sink(store: StreamStore, table: pa.Table, number: int) -> None:
    with store.batch("bench", "bench", number) as batch:
        if batch.add_events(table).num_rows != table.num_rows:
            raise MarketDataError("the sink took new rows for repeats")


def _by_rows(connection: psycopg.Connection[Any], rows: list[tuple[Any, ...]]) -> None:
    statement = f"COPY market.bench_rows ({EVENT_COLUMNS}) FROM STDIN (FORMAT binary)"
    with connection.transaction(), connection.cursor() as cursor, cursor.copy(statement) as copy:
        copy.set_types([_KINDS.get(name, ("text", None))[0] for name in _COLUMNS])
        for row in rows:
            copy.write_row(row)


def _by_bytes(connection: psycopg.Connection[Any], body: bytes) -> None:
    statement = f"COPY market.bench_encoded ({EVENT_COLUMNS}) FROM STDIN (FORMAT binary)"
    with connection.transaction(), connection.cursor() as cursor, cursor.copy(statement) as copy:
        copy.write(body)


def _encoded(connection: psycopg.Connection[Any], batches: list[list[tuple[Any, ...]]]) -> list[bytes]:
    """Each batch as PostgreSQL writes it."""
    found = []
    statement = f"COPY (SELECT {EVENT_COLUMNS} FROM market.bench_rows) TO STDOUT (FORMAT binary)"
    for rows in batches:
        connection.execute("TRUNCATE market.bench_rows")
        _by_rows(connection, rows)
        with connection.cursor() as cursor, cursor.copy(statement) as copy:
            found.append(b"".join(bytes(part) for part in copy))
    return found


def _expected(connection: psycopg.Connection[Any], batches: list[list[tuple[Any, ...]]]) -> tuple[Any, ...] | None:
    connection.execute("TRUNCATE market.bench_rows")
    for rows in batches:
        _by_rows(connection, rows)
    return _sum(connection, "rows")


def _tables(count: int) -> list[pa.Table]:
    """Trades as the parser gives them, in batches; times of the middle of a day, so that all lie in one partition."""
    noon = int(datetime.now(UTC).replace(hour=12, minute=0, second=0, microsecond=0).timestamp()) * 1_000_000
    block = Block(count, 100, 10_000, noon - 86_400_000_000)
    made: list[dict[str, Any]] = []
    for number, (key, value) in zip(range(count), trades(block), strict=False):
        fields = decode(value.encode())
        row = {name: getattr(fields, name, None) for name in _COLUMNS}
        made.append(row | {"symbol": key, "kafka_partition": number % 2, "kafka_offset": number // 2})
    return [
        pa.table({name: _column(made[first : first + BATCH], name) for name in _COLUMNS}, schema=_SCHEMA)
        for first in range(0, count, BATCH)
    ]


def _column(rows: list[dict[str, Any]], name: str) -> pa.Array:
    kind = _SCHEMA.field(name).type
    values = [row[name] for row in rows]
    return pa.array(values, pa.int64()).cast(kind) if kind == _TIME else pa.array(values, kind)


def _make_twin(connection: psycopg.Connection[Any], name: str, tables: list[pa.Table]) -> None:
    """A table like market_events in all that costs, and the partitions of these days in both."""
    days = sorted({value.date() for table in tables for value in table["event_time"].unique().to_pylist()})
    connection.execute("SELECT market.ensure_event_partitions(%s::date[])", (days,))
    twin, parent = Identifier("market", name), Identifier("market", "market_events")
    connection.execute(
        SQL("CREATE TABLE {} (LIKE {} INCLUDING ALL) PARTITION BY RANGE (event_time)").format(twin, parent)
    )
    for day in days:
        part = Identifier("market", f"{name}_p{day:%Y%m%d}")
        connection.execute(
            SQL("CREATE TABLE {} PARTITION OF {} FOR VALUES FROM ({}) TO ({})").format(
                part, twin, f"{day} 00:00:00+00", f"{day.fromordinal(day.toordinal() + 1)} 00:00:00+00"
            )
        )


def _sum(connection: psycopg.Connection[Any], side: str) -> tuple[Any, ...] | None:
    """Count and sum of all rows' hashes: equal for equal rows in any order."""
    table = "market_events" if side == "sink" else f"bench_{side}"
    return connection.execute(_SUM.format(columns=EVENT_COLUMNS, table=table)).fetchone()
