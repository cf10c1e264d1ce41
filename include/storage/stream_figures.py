"""What is computed from events, in the same transaction: candles, indicators, anomalies."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Protocol

import psycopg
import pyarrow as pa
import pyarrow.compute as pc
from psycopg.sql import SQL, Composed, Identifier, Literal

from include.market.candle import LONGEST_SECONDS
from include.market.event import MICROSECONDS, AssetClass
from include.market.tables import CANDLE_SCHEMA, EVENT_SCHEMA, PARTIAL_SCHEMA, TIME
from include.storage import stream_figures_sql as sql
from include.storage.stream_copy import copy_in, copy_out

_SPAN_US = LONGEST_SECONDS * MICROSECONDS
_SPANS = pa.schema([("symbol", pa.string()), ("start", TIME)])
_FIRSTS = pa.schema([("symbol", pa.string()), ("interval", pa.string()), ("first", TIME)])
_CONTEXT = [CANDLE_SCHEMA.field(name) for name in ("symbol", "interval", "window_start", "close", "volume", "source")]


class Lookback(Protocol):
    """How many of the last closes, non-null returns and non-null volumes a candle's figures come from."""

    @property
    def closes(self) -> int: ...
    @property
    def returns(self) -> int: ...
    @property
    def volumes(self) -> int: ...


class FigureTables:
    """Candles, indicators and anomalies of one open transaction. Use through `Batch.figures`."""

    def __init__(self, cursor: psycopg.Cursor[dict[str, Any]]) -> None:
        self._cursor = cursor

    def basis(self, new: pa.Table) -> tuple[pa.Table, pa.Table, pa.Table]:
        """What the candles of these events' windows follow from: (events to add, partials, events to count again).

        The first are those of `new` whose windows have partials (PARTIAL_SCHEMA) to add to, or had no event
        before; the last are all events (EVENT_SCHEMA, all revisions) of the windows where that would not be exact.
        """
        spans = _span_starts(new)
        touched = pa.table({"symbol": new["symbol"], "start": spans}).group_by(["symbol", "start"]).aggregate([])
        copy_in(self._cursor, "touched (symbol, start)", touched.select(["symbol", "start"]))
        bars = new.filter(pc.equal(new["kind"], "bar"))
        columns = ["event_id", "symbol", "event_time", "interval_seconds"]
        copy_in(self._cursor, f"new_bars ({', '.join(columns)})", bars.select(columns))
        self._cursor.execute(sql.RECOUNTED)
        partials = copy_out(self._cursor, sql.PARTIALS, PARTIAL_SCHEMA)
        if self._cursor.execute("SELECT EXISTS (SELECT FROM recounted) AS any").fetchone() == {"any": False}:
            return _with_revision(new), partials, EVENT_SCHEMA.empty_table()
        recounted = copy_out(self._cursor, sql.SPANS_RECOUNTED, _SPANS)
        events = self.events_recounted()
        added = new.append_column("start", spans).join(recounted, ["symbol", "start"], join_type="left anti")
        return _with_revision(added), partials, events

    def events_between(self, start: datetime, end: datetime, asset_class: AssetClass) -> pa.Table:
        """All events with start <= event_time < end (EVENT_SCHEMA, all revisions)."""
        statement = SQL(sql.EVENTS_BETWEEN).format(
            asset_class=Literal(asset_class), start=Literal(start), end=Literal(end)
        )
        return copy_out(self._cursor, statement, EVENT_SCHEMA)

    def upsert_candles(self, candles: pa.Table, watermark: datetime | None, asset_class: AssetClass) -> int:
        """Replace what differs, close the windows that the watermark has passed; how many rows changed."""
        bound = {"watermark": watermark, "asset_class": asset_class}
        copy_in(self._cursor, f"staged_candles ({sql.CANDLE_COLUMNS})", candles)
        self._cursor.execute(sql.UPSERT_CANDLES, bound)
        return self._cursor.rowcount + self.finalise(watermark, asset_class)

    def finalise(self, watermark: datetime | None, asset_class: AssetClass) -> int:
        """Close the windows that end at the watermark or before; how many were open."""
        if watermark is None:
            return 0
        self._cursor.execute(sql.FINALISE, {"watermark": watermark, "asset_class": asset_class})
        return self._cursor.rowcount

    def keep_partials(self, partials: pa.Table, watermark: datetime | None, asset_class: AssetClass) -> None:
        """Keep what the next batch adds to, and forget windows that seldom get more."""
        bound = {"watermark": watermark, "asset_class": asset_class}
        copy_in(self._cursor, f"staged_partials ({sql.PARTIAL_COLUMNS})", partials)
        self._cursor.execute(sql.UPSERT_PARTIALS, bound)
        if watermark is not None:
            self._cursor.execute(sql.PRUNE_PARTIALS, bound)

    def drop_partials(self, start: datetime, end: datetime, asset_class: AssetClass) -> None:
        """After events came by another door: the next batch counts these windows again."""
        self._cursor.execute(sql.DROP_PARTIALS, (asset_class, start, end))

    def take_quarantined(self, start: datetime, end: datetime, asset_class: AssetClass) -> list[dict[str, Any]]:
        """Events held or released since candles were counted last, marked as shown by them: `symbol, event_time` (us).

        First of all: `events_recounted` are then those of their windows that count, and `remove_uncounted` what is
        over where none is left.
        """
        return self._cursor.execute(sql.TAKE_QUARANTINED, (asset_class, start, end)).fetchall()

    def events_recounted(self) -> pa.Table:
        """All events (EVENT_SCHEMA, all revisions) of the windows that are counted again."""
        return copy_out(self._cursor, sql.EVENTS_RECOUNTED, EVENT_SCHEMA)

    def remove_uncounted(self) -> int:
        """Delete candles of these windows that `upsert_candles` was not given, and all built on them; how many."""
        self._cursor.execute(sql.REMOVE_UNCOUNTED)
        return self._cursor.rowcount

    def drop_partials_recounted(self) -> None:
        """As `drop_partials`, of the windows that are counted again."""
        self._cursor.execute(sql.DROP_PARTIALS_RECOUNTED)

    def record_repairs(self, *, only_changed: bool = False) -> None:
        """Leave the indicators of the candles upserted or removed here, and all after them, to the repair."""
        for rows in ("changed_candles",) if only_changed else ("staged_candles", "changed_candles"):
            self._cursor.execute(SQL(sql.RECORD_REPAIRS).format(rows=Identifier(rows)))

    def take_repair(self, symbol: str, interval: str) -> None:
        """Treat the candles that wait for their repair as changed, and the repair as done with this transaction."""
        self._cursor.execute(sql.TAKE_REPAIR, (symbol, interval))

    def context(
        self, lookback: Lookback, seeded: Sequence[str], *, at_most: int | None = None
    ) -> tuple[pa.Table, pa.Table]:
        """The changed candles, all after them and what comes before; the first wanted of each (symbol, interval).

        Rows have `symbol, interval, window_start, close, volume, source`, and the first of each its own stored
        figure of the indicators named in `seeded`, as `seed_<name>`; null where the history starts there. A
        (symbol, interval) with more than `at_most` candles from the first on is left to the repair.
        """
        bound = {"closes": lookback.closes, "returns": lookback.returns, "volumes": lookback.volumes}
        self._cursor.execute(sql.SCOPES, bound)
        if at_most is not None:
            self._cursor.execute(sql.DEFER, {"at_most": at_most})
        seeds = [SQL(", {} AS {}").format(_stored(name), Identifier(f"seed_{name}")) for name in seeded]
        schema = pa.schema([*_CONTEXT, *((f"seed_{name}", pa.float64()) for name in seeded)])
        return (
            copy_out(self._cursor, SQL(sql.CONTEXT).format(seeds=SQL("").join(seeds)), schema),
            copy_out(self._cursor, sql.FIRSTS, _FIRSTS),
        )

    def replace_indicators(self, indicators: pa.Table, anomalies: pa.Table) -> int:
        """Put these rows in the place of what stands for their candles; how many indicator rows changed.

        Anomalies that hold no more are deleted; what is new, changed in severity or withdrawn is in the outbox.
        """
        copy_in(self._cursor, f"staged_indicators ({sql.INDICATOR_COLUMNS})", indicators)
        copy_in(self._cursor, f"staged_anomalies ({sql.ANOMALY_COLUMNS})", anomalies)
        self._cursor.execute(sql.UPSERT_INDICATORS)
        changed = self._cursor.rowcount
        self._cursor.execute(sql.REPLACE_ANOMALIES)
        return changed


def _stored(indicator: str) -> Composed:
    if indicator in sql.INDICATOR_NAMES:
        return Composed([Identifier("i", indicator)])
    return SQL("(i.more ->> {})::float8").format(Literal(indicator))


def _span_starts(new: pa.Table) -> pa.ChunkedArray:
    micros = new["event_time"].cast(pa.int64())
    return pc.multiply(pc.divide(micros, _SPAN_US), _SPAN_US).cast(TIME)


def _with_revision(new: pa.Table) -> pa.Table:
    revision = pa.array([0], pa.int32()).take(pa.repeat(0, new.num_rows))
    return new.append_column("revision", revision).select(EVENT_SCHEMA.names)
