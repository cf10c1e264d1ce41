"""Bars of a past day into the warehouse, by the stream's own transforms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import msgspec
import pyarrow as pa

from include.market.event import AssetClass, MarketEvent
from include.market.moments import day_bounds
from include.market.tables import EVENT_SCHEMA, TIME
from include.storage.history_store import Part
from include.storage.stream_store import EVENT_COLUMNS, Batch, StreamStore
from spark_jobs.figures import candles_counted, replace_followers

#: A changed bar changes the indicators of every later candle; of so many at most in its own transaction, which is a
#: month of minutes and a second of work. More are left to the repair, which is a transaction for each series.
LATER_CANDLES = 50_000

_FURTHER = {"asset_class": pa.string(), "currency": pa.string(), "ingested_at": TIME}
_SCHEMA = pa.schema(
    [
        pa.field(name, _FURTHER[name]) if name in _FURTHER else EVENT_SCHEMA.field(name)
        for name in EVENT_COLUMNS.split(", ")
    ]
)


@dataclass(frozen=True, slots=True)
class Stored:
    """What became of the bars, and the minutes in session that have none. `changed`: rows of candles and indicators."""

    new: int
    changed_bars: int
    unchanged: int
    left: int
    missing_before: int
    missing: tuple[datetime, ...]
    changed: int


def store_bars(
    store: StreamStore,
    part: Part,
    bars: Sequence[MarketEvent],
    asset_class: AssetClass,
    delay: timedelta,
    *,
    revise: bool = True,
) -> Stored:
    """Bars of the part's symbol and UTC day, and all that follows from them, in one transaction.

    The same bars again change nothing; without `revise` only minutes that are missing are taken. Raises DayIsCold where
    the day is only in the archive, OtherShares for bars that a split has changed, psycopg.Error.
    """
    start, end = day_bounds(part.day)
    with store.recomputation(f"events_{asset_class}") as batch:
        batch.refuse_cold(part.day, part.day)
        batch.make_days([part.day])
        before = batch.history.missing(part.symbol, start, end)
        verdicts = batch.history.compare(event_table(bars), revise=revise) if bars else {}
        changed = _count_again(batch, asset_class, delay) if bars else 0
        missing = batch.history.missing(part.symbol, start, end) if changed else before
        batch.history.record(part, verdicts, len(before), len(missing))
    return Stored(
        new=verdicts.get("new", 0),
        changed_bars=verdicts.get("changed", 0),
        unchanged=verdicts.get("unchanged", 0),
        left=verdicts.get("left", 0),
        missing_before=len(before),
        missing=tuple(missing),
        changed=changed,
    )


def event_table(events: Sequence[MarketEvent]) -> pa.Table:
    """Events that did not come by Kafka, as a table of EVENT_COLUMNS."""
    rows = [msgspec.structs.asdict(event) for event in events]
    columns = [
        pa.array((row.get(field.name) for row in rows), pa.int64()).cast(field.type)
        if field.type == TIME
        else pa.array((row.get(field.name) for row in rows), field.type)
        for field in _SCHEMA
    ]
    return pa.table(columns, schema=_SCHEMA)


def _count_again(batch: Batch, asset_class: AssetClass, delay: timedelta) -> int:
    """Candles of the windows that `compare` found, and what follows from them; how many rows changed."""
    events = batch.figures.events_recounted()
    if events.num_rows == 0:
        return 0
    newest = batch.newest_event_time()
    watermark = newest - delay if newest else None
    changed = batch.figures.upsert_candles(candles_counted(events), watermark, asset_class)
    batch.figures.drop_partials_recounted()
    return changed + replace_followers(batch.figures, at_most=LATER_CANDLES)
