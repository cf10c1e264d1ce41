"""Control sums: the same number in the process and in SQL, equal for every batch, and unequal after any change."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import psycopg
import pyarrow as pa
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from include.storage.control_sum import UNKNOWN, WEIGHTS, control_sum
from include.storage.stream_copy import copy_in
from include.storage.stream_sql import EVENT_COLUMNS
from spark_jobs.transforms.parse import SCHEMA
from tests.integration.deliveries import Delivery, Shape, cut, records
from tests.integration.plain_stream import PlainStream, plain_stream
from tests.integration.warehouse import Warehouse, warehouse

__all__ = ["warehouse"]

COLUMNS = EVENT_COLUMNS.split(", ")
#: Years 1970 to 9999, as records may say it.
TIMES = st.integers(1, 253_402_300_799_999_999)
PRICES = st.integers(1, 10**18 - 1)
ROW = st.fixed_dictionaries(
    {
        "event_time": TIMES,
        "ingested_at": TIMES,
        "interval_seconds": st.integers(0, 2**31 - 1),
        "kafka_offset": st.integers(0, 2**62),
        "volume": st.none() | st.integers(0, 10**28 - 1),
        **dict.fromkeys(("open", "high", "low", "close"), PRICES),
    }
)


def by_hand(rows: Sequence[dict[str, Any]]) -> int:
    """With whole numbers of any length."""
    total = 0
    for row in rows:
        known = row | {"volume": UNKNOWN if row["volume"] is None else row["volume"]}
        total += (2 * row["kafka_offset"] + 1) * sum(weight * known[name] for name, weight in WEIGHTS.items())
    return total % 2**64


def table(rows: Sequence[dict[str, Any]]) -> pa.Table:
    """As the parser gives them."""
    texts = {"event_id": [f"{number}" for number in range(len(rows))], "kind": ["bar"] * len(rows)}
    columns = {}
    for name in COLUMNS:
        kind = SCHEMA.field(name).type
        values: list[Any] = texts.get(name, [row.get(name, "" if kind == pa.string() else 0) for row in rows])
        if pa.types.is_decimal(kind):
            columns[name] = pa.array([None if v is None else Decimal(v).scaleb(-8) for v in values], kind)
        else:
            columns[name] = pa.array(values, pa.int64() if kind != pa.string() else kind).cast(kind)
    return pa.table(columns)


@pytest.fixture(scope="module")
def figures(warehouse: Warehouse) -> Iterator[psycopg.Connection[Any]]:
    """With a table like `market_events` that takes rows of any time and keeps them to the end of the transaction."""
    with psycopg.connect(warehouse.owner_url, autocommit=True, options="-c timezone=UTC") as connection:
        connection.execute(
            "CREATE TEMP TABLE trial (LIKE market.market_events INCLUDING DEFAULTS) ON COMMIT DELETE ROWS"
        )
        yield connection


@settings(deadline=None, max_examples=60, derandomize=True, phases=[Phase.explicit, Phase.generate])
@given(st.lists(ROW, max_size=12), st.integers(0, 3))
def test_the_process_and_the_database_say_the_same(
    figures: psycopg.Connection[Any], rows: list[dict[str, Any]], cut_off: int
) -> None:
    events = table(rows)
    # In pieces, and from the middle of a longer one: as batches come.
    longer = table([*rows[:2], *rows])
    pieces = pa.concat_tables([events.slice(0, cut_off), longer.slice(len(rows[:2]) + cut_off)])
    assert control_sum(events) == control_sum(pieces) == by_hand(rows)
    with figures.transaction(), figures.cursor() as cursor:
        copy_in(cursor, f"trial ({EVENT_COLUMNS})", events.select(COLUMNS))
        # A row of the real table's type, whatever table it comes from.
        fields = ", ".join(f"t.{name}" for name in (*COLUMNS, "revision"))
        found = cursor.execute(
            f"SELECT coalesce(sum(market.control_figure(ROW({fields})::market.market_events)), 0) FROM trial t"
        ).fetchone()
    assert found is not None
    assert int(found[0]) % 2**64 == by_hand(rows)


def test_a_volume_that_is_not_known_is_not_none_at_all() -> None:
    row = {"kafka_offset": 7, "event_time": 1, "ingested_at": 1, "interval_seconds": 0} | dict.fromkeys(
        ("open", "high", "low", "close"), 1
    )
    unknown, nothing = [row | {"volume": None}], [row | {"volume": 0}]
    assert control_sum(table(unknown)) != control_sum(table(nothing))
    assert control_sum(table([])) == 0


SHAPE = Shape(
    seed=5, symbols=3, minutes=90, gaps=0.02, switches=0.02, second_source=0.05, repeats=0.1, late=0.05, future=0.02,
    jumps=0.0, longest_delay=30,
)  # fmt: skip
BALANCE = """
SELECT checkpoint_id, batch_id, rows_new, rows_stored, control_sum, control_stored
FROM market.ledger_balance('-infinity', 'infinity')
"""


def written(stream: PlainStream, deliveries: Sequence[Delivery], parts: int = 8) -> None:
    for batch in cut(deliveries, parts, random.Random(parts)):
        stream.write(records(batch, stream.asset_class))


def balance(warehouse: Warehouse) -> dict[tuple[str, int], tuple[Any, ...]]:
    return {row[:2]: row[2:] for row in warehouse.rows(BALANCE)}


def unequal(warehouse: Warehouse) -> set[tuple[str, int]]:
    """(checkpoint, batch) of those that do not balance."""
    return {
        key for key, (new, stored, was, now) in balance(warehouse).items() if (new, was) != (stored, now)
    }  # fmt: skip


@pytest.fixture
def streamed(warehouse: Warehouse) -> Iterator[PlainStream]:
    warehouse.empty()
    warehouse.rows("TRUNCATE stream_checkpoints")
    with plain_stream(warehouse) as stream:
        written(stream, SHAPE.deliveries())
        yield stream


def test_every_batch_balances(warehouse: Warehouse, streamed: PlainStream) -> None:
    ledger = warehouse.rows("SELECT checkpoint_id, batch_id, rows_new, control_sum FROM stream_batches")
    found = balance(warehouse)
    assert len(found) == len(ledger) == 8
    assert {(key, new, was) for key, (new, _, was, _) in found.items()} == {
        ((checkpoint, batch), new, total) for checkpoint, batch, new, total in ledger
    }
    assert sum(new for new, *_ in found.values()) > 200
    assert unequal(warehouse) == set()
    # Repeats alone are stored nowhere, and weigh nothing.
    streamed.write(records([replace(delivery, offset=delivery.offset + 10_000) for delivery in SHAPE.deliveries()[:9]
                            if not delivery.is_future], "stock"))  # fmt: skip
    assert warehouse.rows("SELECT rows_new, control_sum FROM stream_batches WHERE batch_id = 8") == [(0, 0)]
    assert unequal(warehouse) == set()


ONE = "(SELECT event_id FROM market_events WHERE kafka_partition = 0 ORDER BY kafka_offset OFFSET 20 LIMIT 1)"
OTHER = "(SELECT event_id FROM market_events WHERE kafka_partition = 0 ORDER BY kafka_offset OFFSET 21 LIMIT 1)"
SWAPPED = """
WITH pair AS (SELECT event_id, {columns} FROM market_events WHERE event_id IN ({one}, {other}))
UPDATE market_events e SET ({columns}) = ROW({values}) FROM pair p
WHERE e.event_id IN ({one}, {other}) AND p.event_id IN ({one}, {other}) AND p.event_id <> e.event_id
"""


def swapped(columns: str) -> str:
    values = ", ".join(f"p.{name}" for name in columns.split(", "))
    return SWAPPED.format(columns=columns, values=values, one=ONE, other=OTHER)


TAMPERINGS = {
    "a row deleted": f"DELETE FROM market_events WHERE event_id = {ONE}",
    "a digit of the price": f"UPDATE market_events SET close = close + 0.00000001, high = high + 0.00000001 "
    f"WHERE event_id = {ONE}",
    "a digit of the volume": f"UPDATE market_events SET volume = coalesce(volume, 0) + 0.00000001 "
    f"WHERE event_id = {ONE}",
    "the volume made unknown": f"UPDATE market_events SET volume = CASE WHEN volume IS NULL THEN 0 END "
    f"WHERE event_id = {ONE}",
    "a microsecond": f"UPDATE market_events SET event_time = event_time + interval '1 microsecond' "
    f"WHERE event_id = {ONE}",
    "when it was fetched": f"UPDATE market_events SET ingested_at = ingested_at - interval '1 microsecond' "
    f"WHERE event_id = {ONE}",
    "the figures of two rows swapped": swapped("open, high, low, close, volume"),
    "the offsets of two rows swapped": swapped("kafka_offset"),
}


@pytest.mark.parametrize("name", TAMPERINGS)
def test_what_was_changed_is_found_in_its_batch(warehouse: Warehouse, streamed: PlainStream, name: str) -> None:
    place = f"SELECT kafka_offset FROM market_events WHERE event_id IN ({ONE}, {OTHER})"
    spans = "SELECT batch_id FROM stream_batches WHERE (offsets -> 'stock' -> '0' ->> 0)::bigint <= %s "
    spans += "AND (offsets -> 'stock' -> '0' ->> 1)::bigint > %s"
    (first,), (second,) = warehouse.rows(place)
    touched = {("checkpoint 0", *row) for at in (first, second) for row in warehouse.rows(spans, at, at)}
    assert len(touched) == 1, "both in one batch, else a swap moves a row from one to the other"
    warehouse.rows(TAMPERINGS[name])
    assert unequal(warehouse) == touched


def test_a_row_that_no_batch_wrote_is_found(warehouse: Warehouse, streamed: PlainStream) -> None:
    warehouse.rows(
        f"INSERT INTO market_events SELECT ('x' || event_id), {', '.join(COLUMNS[1:])}, revision FROM market_events "
        f"WHERE event_id = {ONE}"
    )
    assert len(unequal(warehouse)) == 1


def test_a_backfilled_revision_changes_no_balance(warehouse: Warehouse, streamed: PlainStream) -> None:
    held = next(delivery for delivery in SHAPE.deliveries() if delivery.event.kind == "bar").row
    again = {"kafka_partition": None, "kafka_offset": None, "close": held["high"], "revision": 1}
    warehouse.backfill([held | again])
    assert warehouse.rows("SELECT count(*) FROM market_events WHERE revision = 1") == [(1,)]
    assert unequal(warehouse) == set()


def test_a_rebuild_raises_nothing_and_hides_nothing(warehouse: Warehouse, streamed: PlainStream) -> None:
    """The topic is read again under a new checkpoint, in other batches, and then goes on."""
    later = replace(SHAPE, seed=6, symbols=4).deliveries()
    ends = {partition: end for partition, end in warehouse.rows(
        "SELECT p.key::int, max((p.value ->> 1)::bigint) FROM stream_batches, jsonb_each(offsets) t, "
        "jsonb_each(t.value) p GROUP BY 1")}  # fmt: skip
    streamed.read_again()
    written(streamed, SHAPE.deliveries(), parts=3)
    assert warehouse.rows("SELECT sum(rows_new) FROM stream_batches WHERE checkpoint_id = 'checkpoint 1'") == [(0,)]
    assert unequal(warehouse) == set()
    moved = [replace(delivery, offset=delivery.offset + ends[delivery.partition]) for delivery in later]
    written(streamed, moved, parts=4)
    assert unequal(warehouse) == set()
    assert {key for key in balance(warehouse) if key[0] == "checkpoint 1"} == {
        ("checkpoint 1", batch) for batch in range(3, 7)
    }
    warehouse.rows(f"DELETE FROM market_events WHERE event_id = {ONE}")
    warehouse.rows(
        "DELETE FROM market_events WHERE kafka_partition = 1 AND kafka_offset = "
        "(SELECT max(kafka_offset) FROM market_events WHERE kafka_partition = 1)"
    )
    assert {checkpoint for checkpoint, _ in unequal(warehouse)} == {"checkpoint 0", "checkpoint 1"}


def test_a_topic_made_again_raises_nothing(warehouse: Warehouse, streamed: PlainStream) -> None:
    """Its offsets begin at 0 again, so its rows cannot be told from the old topic's until it is longer."""
    streamed.topic_id = "made again"
    streamed.read_again()
    written(streamed, replace(SHAPE, seed=11, symbols=4, minutes=140).deliveries(), parts=12)
    assert unequal(warehouse) == set()
    told = balance(warehouse)
    assert told
    assert {checkpoint for checkpoint, _ in told} == {"checkpoint 1"}
    warehouse.rows("DELETE FROM market_events WHERE kafka_offset = (SELECT max(kafka_offset) FROM market_events)")
    assert unequal(warehouse) == {max(told, key=lambda key: key[1])}


def test_another_market_day_is_not_looked_at(warehouse: Warehouse, streamed: PlainStream) -> None:
    now = datetime.now(UTC)
    assert warehouse.rows("SELECT count(*) FROM market.ledger_balance(%s, 'infinity')", now) == [(0,)]
