"""Candles from events: the one definition of contract §8, for stream and batch. Pure.

A *partial* sums up some events of one window. Partials of one window merge exactly, in any order and any
split, so a batch of the stream adds its events to what is known without reading the window's events again:

    candles_of_table(events) = candles_from(merged(partials_of(counted(events))))

All of them take and give Arrow tables, whole columns at a time. `candles_of` is the same on Spark's DataFrames, for
histories that one process does not hold.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from include.market.candle import INTERVAL_SECONDS, PARTIAL_KEY, Interval
from include.market.event import MICROSECONDS
from include.market.tables import (
    CANDLE_SCHEMA,
    EVENT_SCHEMA,
    PARTIAL_SCHEMA,
    TIME,
    VOLUME,
    VOLUME_SUM,
    VWAP,
    WEIGHTED_SUM,
)
from spark_jobs.transforms.series import IntArray, microseconds

#: Rows that are summed up at a time.
_BLOCK = 32_768
#: The place of rows that did not come by Kafka: after all that did.
_NO_OFFSET = 2**63 - 1
#: Sums before it is known whether they fit.
_WIDE_VOLUME, _WIDE_WEIGHT = pa.decimal256(76, 8), pa.decimal256(76, 16)
#: What is divided for an average price, as whole numbers: of so few digits that the quotient keeps 31 decimals.
_NUMERATOR, _DIVISOR, _THREE = pa.decimal256(38, 0), pa.decimal256(28, 0), pa.scalar(Decimal(3), pa.decimal256(1, 0))


def candles_of(events: DataFrame, interval: Interval | None = None) -> DataFrame:
    """`candles_of_table` by partitions of whole symbols; each partition is held in memory."""
    schema = ", ".join(f"{field.name} {_spark_type(field.type)}" for field in CANDLE_SCHEMA)

    def compute(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        held = list(batches)
        if held:
            yield from candles_of_table(pa.Table.from_batches(held)).to_batches()

    candles = events.select(*EVENT_SCHEMA.names).repartition("symbol").mapInArrow(compute, schema)
    return candles if interval is None else candles.where(F.col("interval") == interval)


def candles_of_table(events: pa.Table) -> pa.Table:
    """One row a symbol, interval and window that has a usable event: CANDLE_SCHEMA, the columns of `candles`.

    `events` must hold all events of each window that it touches (EVENT_SCHEMA, any order, repeats and
    several revisions allowed). vwap is exact until the end and rounded once, half up, to 12 decimals. Volume is
    null if its sum has more than 20 digits before the point, vwap also if Σ(price·volume) has more than 22.
    """
    return candles_from(merged(partials_of(counted(events))))


def counted(events: pa.Table) -> pa.Table:
    """Each event_id of a symbol with its newest revision; of bars of one symbol, start and length the first."""
    ids = _codes(events["event_id"])
    arrival = (*_arrival(events), _ranks(events["event_id"]))
    symbol = _codes(events["symbol"])
    newest = _firsts((symbol, ids), (-_whole(events["revision"]), *arrival))
    is_bar = pc.equal(events["kind"], "bar").to_numpy()[newest]
    # What is no bar is a fact of its own, by its place among the rows.
    fact = np.where(is_bar, -1, newest)
    bar = (microseconds(events["event_time"]), _whole(events["interval_seconds"]))
    first = _firsts((symbol[newest], *(part[newest] for part in bar), fact), tuple(part[newest] for part in arrival))
    return _taken(events, np.sort(newest[first]))


def partials_of(events: pa.Table) -> pa.Table:
    """Summaries of events that count once each (see `counted`): PARTIAL_SCHEMA, one row a key.

    Quotes are kept apart from bars and trades. A bar is in the windows that are long enough for it.
    """
    ordered = _Ordered.of(events)
    return pa.concat_tables([ordered.sums(name, seconds) for name, seconds in INTERVAL_SECONDS.items()])


def merged(partials: pa.Table) -> pa.Table:
    """One partial a key. Exact, associative and commutative: extremes by order, and sums of whole decimals."""
    key = (
        _codes(partials["symbol"]),
        _codes(partials["interval"]),
        microseconds(partials["window_start"]),
        _whole(partials["is_quote"]),
    )
    places = {
        end: (
            microseconds(partials[f"{end}_time"]),
            _whole(partials[f"{end}_offset"]),
            _whole(partials[f"{end}_partition"]),
            _ranks(partials[f"{end}_id"]),
        )
        for end in ("first", "last")
    }
    order = _sorted(key, places["first"])
    groups = _Groups.of(tuple(part[order] for part in key))
    first = order[groups.starts]
    order_by_last = _sorted(key, places["last"])
    last = order_by_last[groups.ends]
    sums = groups.aggregated(
        _taken(partials.select(["high", "low", "volume", "volumes", "weighted", "weights", "event_count"]), order),
        {"volumes": "sum", "weights": "sum", "event_count": "sum"},
    )
    return _as_partials(_taken(partials, first), _taken(partials, last), sums)


def candles_from(partials: pa.Table) -> pa.Table:
    """The candles (CANDLE_SCHEMA) of complete, merged partials. Quotes make one only where nothing else does."""
    key = (_codes(partials["symbol"]), _codes(partials["interval"]), microseconds(partials["window_start"]))
    side = (_whole(partials["is_quote"]),)
    chosen = _taken(partials, _firsts(key, side))
    volume = _fitting(chosen["volume"], VOLUME)
    columns = {name: chosen[name] for name in CANDLE_SCHEMA.names if name != "vwap"}
    columns |= {"volume": volume, "vwap": _vwap(chosen, volume)}
    return pa.table({name: columns[name] for name in CANDLE_SCHEMA.names}).cast(CANDLE_SCHEMA)


def _vwap(chosen: pa.Table, volume: pa.ChunkedArray) -> pa.ChunkedArray:
    """Σ(high+low+close)·volume / 3Σvolume, half up to 12 decimals; by whole numbers, for no float is exact here."""
    known = pc.equal(chosen["weights"], chosen["volumes"])
    numerators = pc.if_else(known, chosen["weighted"], None).cast(_NUMERATOR)
    total = _rescaled(volume.cast(pa.decimal256(28, 8)), _DIVISOR)
    total = pc.if_else(pc.equal(total, pa.scalar(Decimal(0), _DIVISOR)), None, total)
    # 1e-16 over 1e-8 leaves 1e-8; four more places. The quotient has 31, more than a half can hide behind.
    quotient = pc.divide(numerators, pc.multiply(total, _THREE))
    rounded = pc.round(quotient, ndigits=4, round_mode="half_towards_infinity").cast(pa.decimal256(60, 4))
    return _rescaled(rounded, pa.decimal256(60, 12)).cast(VWAP)


@dataclass(frozen=True, slots=True)
class _Groups:
    """Runs of equal keys in rows that are sorted by key: the first and last row of each, and each row's run."""

    starts: IntArray
    ends: IntArray
    run: IntArray

    @classmethod
    def of(cls, key: tuple[IntArray, ...]) -> _Groups:
        count = len(key[0])
        changes = np.zeros(count, dtype=bool)
        changes[:1] = True
        for part in key:
            changes[1:] |= part[1:] != part[:-1]
        starts = np.flatnonzero(changes)
        return cls(starts, np.append(starts[1:], count)[: len(starts)] - 1, np.cumsum(changes) - 1)

    def aggregated(self, rows: pa.Table, counts: dict[str, str]) -> pa.Table:
        """high, low, volume, weighted of each run, and `counts` as they say: column to Arrow's aggregation."""
        wanted = {"high": "max", "low": "min", "volume": "sum", "weighted": "sum"} | counts
        found = pa.concat_tables([self._block(rows, *edges, list(wanted.items())) for edges in self._blocks()])
        return pa.table({name: found[f"{name}_{kind}"] for name, kind in wanted.items()})

    def _blocks(self) -> Iterator[tuple[int, int]]:
        """From row to row: whole runs, _BLOCK rows or a run more, so that no table of runs outgrows the cache."""
        nominal = np.arange(0, max(1, len(self.run)), _BLOCK)
        if len(nominal) == 1:
            return iter([(0, len(self.run))])
        edges = np.append(np.unique(self.starts[self.run[nominal]]), len(self.run)).tolist()
        return pairwise(edges)

    def _block(self, rows: pa.Table, start: int, end: int, wanted: list[tuple[str, str]]) -> pa.Table:
        own = rows.slice(start, end - start)
        wide = {"volume": own["volume"].cast(_WIDE_VOLUME), "weighted": _wide_weight(own["weighted"])}
        columns = {name: wide.get(name, own[name]) for name in own.column_names}
        given = pa.table({"run": self.run[start:end]} | columns)
        return given.group_by("run", use_threads=False).aggregate(wanted)


@dataclass(frozen=True, slots=True)
class _Ordered:
    """Events by symbol, side (quotes apart), time, Kafka's order and id: windows of any length lie in one piece."""

    rows: pa.Table
    symbol: IntArray
    is_quote: IntArray
    time: IntArray
    length: IntArray

    @classmethod
    def of(cls, events: pa.Table) -> _Ordered:
        symbol = _codes(events["symbol"])
        is_quote = pc.equal(events["kind"], "quote").cast(pa.int64()).to_numpy()
        time = microseconds(events["event_time"])
        offset, partition = _arrival(events)
        order = _sorted((symbol, is_quote), (time, offset, partition))
        ties = np.ones(max(0, len(order) - 1), dtype=bool)
        for part in (symbol, time, offset, partition):
            ties &= part[order[1:]] == part[order[:-1]]
        if ties.any():
            # Only what did not come by Kafka, or came by a topic made again, needs the id as the last word.
            order = _sorted((symbol, is_quote), (time, offset, partition, _ranks(events["event_id"])))
        rows = _taken(_placed(events, offset, partition), order)
        return cls(rows, symbol[order], is_quote[order], time[order], _whole(events["interval_seconds"])[order])

    def sums(self, interval: Interval, seconds: int) -> pa.Table:
        """The partials of one interval, from the events whose windows are long enough."""
        fitting = np.flatnonzero(self.length <= seconds)
        length = seconds * MICROSECONDS
        time = self.time[fitting]
        groups = _Groups.of((self.symbol[fitting], self.is_quote[fitting], time // length))
        rows = _taken(self.rows, fitting)
        first, last = _taken(rows, groups.starts), _taken(rows, groups.ends)
        counted_rows = rows.select(["high", "low", "volume", "weighted"])
        for name, of in (("volumes", "volume"), ("weights", "weighted"), ("event_count", "high")):
            counted_rows = counted_rows.append_column(name, rows[of])
        counts = dict.fromkeys(("volumes", "weights", "event_count"), "count")
        starts = pa.array(time[groups.starts] // length * length).cast(TIME)
        first = first.append_column("interval", pa.repeat(interval, len(starts))).append_column("window_start", starts)
        return _as_partials(first, last, groups.aggregated(counted_rows, counts))


def _placed(events: pa.Table, offset: IntArray, partition: IntArray) -> pa.Table:
    """The events with what their partials need: weight, place, side."""
    places = {
        "time": events["event_time"],
        "offset": pa.array(offset),
        "partition": pa.array(partition.astype(np.int32)),
        "id": events["event_id"],
    }
    columns = {name: events[name] for name in ("symbol", "open", "high", "low", "close", "volume", "source")}
    columns |= {f"{end}_{name}": column for end in ("first", "last") for name, column in places.items()}
    typical = pc.add(pc.add(events["high"], events["low"]), events["close"])
    weight = pc.multiply(typical.cast(pa.decimal256(20, 8)), events["volume"].cast(pa.decimal256(28, 8)))
    return pa.table(columns | {"weighted": weight, "is_quote": pc.equal(events["kind"], "quote")})


def _as_partials(first: pa.Table, last: pa.Table, sums: pa.Table) -> pa.Table:
    columns = {name: first[name] for name in (*PARTIAL_KEY, "open")}
    columns |= {name: first[name] for name in PARTIAL_SCHEMA.names if name.startswith("first_")}
    columns |= {name: last[name] for name in PARTIAL_SCHEMA.names if name.startswith("last_")}
    columns |= {"close": last["close"], "source": last["source"]}
    columns |= {name: sums[name] for name in ("high", "low", "volumes", "event_count")}
    weighted = _fitting(_unscaled(sums["weighted"]), WEIGHTED_SUM)
    columns |= {"volume": _fitting(sums["volume"], VOLUME_SUM), "weighted": weighted}
    # A sum too long to keep is null, which a later sum would leave out unseen: so none of its parts counts.
    columns["weights"] = pc.if_else(pc.is_null(weighted), 0, sums["weights"])
    return pa.table({name: columns[name] for name in PARTIAL_SCHEMA.names}).cast(PARTIAL_SCHEMA)


def _fitting(figures: pa.ChunkedArray, kind: pa.Decimal128Type) -> pa.ChunkedArray:
    """As `kind`, same scale; null where a figure has more digits than it holds. None is negative."""
    limit = pa.scalar(Decimal(10) ** (kind.precision - kind.scale), pa.decimal256(76, kind.scale))
    wide = figures.cast(pa.decimal256(76, kind.scale))
    return pc.if_else(pc.less(wide, limit), wide, None).cast(kind)


def _wide_weight(weighted: pa.ChunkedArray) -> pa.ChunkedArray:
    """Of 1e-16 each, whether they come as such or as the whole numbers that partials keep."""
    if pa.types.is_decimal256(weighted.type):
        return weighted.cast(_WIDE_WEIGHT)
    return _rescaled(weighted.cast(pa.decimal256(76, 0)), _WIDE_WEIGHT)


def _unscaled(weighted: pa.ChunkedArray) -> pa.ChunkedArray:
    return _rescaled(weighted, pa.decimal256(76, 0))


def _rescaled(figures: pa.ChunkedArray, kind: pa.Decimal256Type) -> pa.ChunkedArray:
    """The same digits with the point elsewhere."""
    chunks = [
        pa.Array.from_buffers(kind, len(chunk), chunk.buffers(), chunk.null_count, chunk.offset)
        for chunk in figures.chunks
    ]
    return pa.chunked_array(chunks, kind)


def _arrival(events: pa.Table) -> tuple[IntArray, IntArray]:
    """Kafka's offset and partition of each; what did not come by Kafka is after all that did."""
    offset = pc.fill_null(events["kafka_offset"], _NO_OFFSET)
    return _whole(offset), _whole(pc.fill_null(events["kafka_partition"], 0))


def _firsts(key: tuple[IntArray, ...], order: tuple[IntArray, ...]) -> IntArray:
    """The place of the first row of each key in this order."""
    places = _sorted(key, order)
    return places[_Groups.of(tuple(part[places] for part in key)).starts]


def _taken(rows: pa.Table, places: IntArray) -> pa.Table:
    """The rows at these places. Where those are all, in their order, as of bars that came once, nothing is copied."""
    if len(places) == rows.num_rows and np.array_equal(places, np.arange(len(places))):
        return rows
    return rows.take(pa.array(places))


def _sorted(key: tuple[IntArray, ...], order: tuple[IntArray, ...]) -> IntArray:
    return np.lexsort(tuple(reversed((*key, *order))))


def _codes(names: pa.ChunkedArray) -> IntArray:
    """A number for each different name, in no special order."""
    return _whole(pa.chunked_array([names.combine_chunks().dictionary_encode().indices]))


def _ranks(names: pa.ChunkedArray) -> IntArray:
    ranks: IntArray = pc.rank(names.combine_chunks(), tiebreaker="dense").to_numpy().astype(np.int64)
    return ranks


def _whole(numbers: pa.ChunkedArray) -> IntArray:
    whole: IntArray = numbers.cast(pa.int64()).to_numpy()
    return whole


def _spark_type(kind: pa.DataType) -> str:
    if pa.types.is_decimal(kind):
        return f"decimal({kind.precision},{kind.scale})"
    return {pa.string(): "string", pa.int32(): "int", TIME: "timestamp"}[kind]
