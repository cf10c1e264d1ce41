"""Kafka records to typed market events, or to a reason why not. Pure: DataFrame in, DataFrame out.

Records go through whole columns at a time, in Spark's Python workers: what our producers write, byte for byte, is
recognised and cut up by one regular expression. The few that look otherwise are read one by one (`records`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, get_args

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame

from include.market.event import MAX_AHEAD_US, MAX_DECIMALS, MICROSECONDS, SCHEMA_VERSION, AssetClass, Kind, Source
from spark_jobs.transforms.records import (
    FIGURES,
    LENGTHS,
    PRICES,
    TEXTS,
    WHOLE_DIGITS,
    read_record,
)

#: What `parse` gives first, in this order.
COLUMNS = (*TEXTS, *FIGURES, "event_time", "interval_seconds", "ingested_at")
COORDINATES = ("topic", "kafka_partition", "kafka_offset")

_INT_MAX = 2**31 - 1
#: The last microsecond of the year 9999, where the calendars of Arrow and Python end.
_LAST_TIME = 253_402_300_799_999_999
_TIME = pa.timestamp("us", "UTC")
_TYPES: dict[str, pa.DataType] = {
    **dict.fromkeys(("event_time", "ingested_at"), _TIME),
    **dict.fromkeys(("interval_seconds", "kafka_partition"), pa.int32()),
    "kafka_offset": pa.int64(),
    **{name: pa.decimal128(WHOLE_DIGITS[name] + MAX_DECIMALS, MAX_DECIMALS) for name in FIGURES},
}
SCHEMA = pa.schema([(name, _TYPES.get(name, pa.string())) for name in (*COLUMNS, *COORDINATES, "reason", "payload")])
#: As `read_record` gives them: times and lengths are still numbers.
_READ = pa.schema(
    [(name, _TYPES[name] if name in FIGURES else pa.string()) for name in (*TEXTS, *FIGURES, "reason")]
    + [(name, pa.int64()) for name in ("event_time", "interval_seconds", "ingested_at")]
)
_SPARK_TYPES = {pa.string(): "string", pa.int32(): "int", pa.int64(): "bigint", _TIME: "timestamp"}
_NUMBER_DIGITS = {"event_time": 18, "interval_seconds": 9, "ingested_at": 18}


def _our_encoding() -> str:
    """The text that our producers write, its fields as named groups; how long each may be is checked apart.

    Bounds would make the expression three times as slow.
    """
    name = r"[!#-\[\]-~]+"
    figure = r"[0-9]+(?:\.[0-9]+)?"
    fields = {
        **{field: f'"(?P<{field}>{name})"' for field in ("event_id", "symbol")},
        "asset_class": r'"(?P<asset_class>%s)"',
        "source": f'"(?P<source>{"|".join(get_args(Source))})"',
        "kind": f'"(?P<kind>{"|".join(get_args(Kind))})"',
        **{field: f"(?P<{field}>[0-9]+)" for field in ("event_time", "interval_seconds")},
        **{field: f'"(?P<{field}>{figure})"' for field in PRICES},
        "volume": f'(?:null|"(?P<volume>{figure})")',
        "currency": f'"(?P<currency>{name})"',
        "ingested_at": "(?P<ingested_at>[0-9]+)",
        "schema_version": str(SCHEMA_VERSION),
    }
    return r"^\{" + ",".join(f'"{field}":{pattern}' for field, pattern in fields.items()) + r"\}$"


def parse(records: DataFrame, asset_class: AssetClass) -> DataFrame:
    """One row a record (SCHEMA): the columns of contract §3, its Kafka coordinates, and `reason`.

    `records` has Kafka's `value, topic, partition, offset, timestamp`. Valid rows have `reason` null;
    prices decimal(18,8), volume decimal(28,8), `event_time` and `ingested_at` timestamps. Rows with a
    reason, in words, have the raw `payload` as hexadecimal text and no event_time, so that a wrong time
    never reaches a watermark; symbol and source stay where they can be read. Nothing raises on any bytes.
    """

    def parsed(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            yield from parse_table(pa.Table.from_batches([batch]), asset_class).to_batches()

    types = (_spark_type(field.type) for field in SCHEMA)
    schema = ", ".join(f"{name} {kind}" for name, kind in zip(SCHEMA.names, types, strict=True))
    return records.select("value", "topic", "partition", "offset", "timestamp").mapInArrow(parsed, schema)


def parse_table(records: pa.Table, asset_class: AssetClass) -> pa.Table:
    """`parse` on an Arrow table; rows in no special order."""
    texts = pc.extract_regex(
        pc.cast(records["value"], pa.string(), safe=False).combine_chunks(), pattern=_our_encoding() % asset_class
    )
    is_ours = pc.fill_null(_fits(texts), False)
    ours, odd = records.filter(is_ours), records.filter(pc.invert(is_ours))
    read = [_typed(texts.filter(is_ours))]
    if odd.num_rows:
        rows = [read_record(value.as_py(), asset_class) for value in odd["value"]]
        read.append(pa.Table.from_pylist(rows, schema=_READ))
    return _judged(pa.concat_tables(read), pa.concat_tables([ours, odd]))


def _fits(texts: pa.StructArray) -> pa.BooleanArray:
    """Whether no field is longer than it may be; null where the expression did not match."""
    fits = pc.is_valid(texts)
    for name, most in (LENGTHS | _NUMBER_DIGITS).items():
        fits = pc.and_(fits, pc.less_equal(pc.binary_length(pc.struct_field(texts, name)), most))
    for name in FIGURES:
        text = pc.struct_field(texts, name)
        length, point = pc.binary_length(text), pc.find_substring(text, ".")
        has_point = pc.greater_equal(point, 0)
        whole = pc.if_else(has_point, point, length)
        decimals = pc.if_else(has_point, pc.subtract(pc.subtract(length, point), 1), 0)
        fits = pc.and_(fits, pc.less_equal(whole, WHOLE_DIGITS[name]))
        fits = pc.and_(fits, pc.less_equal(decimals, MAX_DECIMALS))
    return fits


def _typed(texts: pa.StructArray) -> pa.Table:
    """The fields of records in our encoding (_READ)."""
    fields: dict[str, Any] = {name: pc.struct_field(texts, name) for name in _READ.names if name != "reason"}
    fields["volume"] = pc.if_else(pc.equal(fields["volume"], ""), None, fields["volume"])
    fields["reason"] = pa.nulls(len(texts), pa.string())
    return pa.table({name: fields[name].cast(kind) for name, kind in zip(_READ.names, _READ.types, strict=True)})


def _judged(read: pa.Table, records: pa.Table) -> pa.Table:
    """The rows (SCHEMA) of what was read: `read` and `records` are the same records in the same order."""
    kafka_time = records["timestamp"].cast(_TIME).cast(pa.int64())
    reason = read["reason"]
    for broken, words in (*_figure_rules(read), *_time_rules(read, kafka_time)):
        reason = pc.coalesce(reason, pc.if_else(broken, words, None))
    valid = pc.is_null(reason)
    columns: dict[str, Any] = {name: pc.if_else(valid, read[name], None) for name in COLUMNS}
    columns |= {name: read[name] for name in ("symbol", "source")}
    columns |= {name: columns[name].cast(_TYPES[name]) for name in ("event_time", "ingested_at", "interval_seconds")}
    columns |= {"topic": records["topic"], "kafka_partition": records["partition"], "kafka_offset": records["offset"]}
    columns |= {"reason": reason, "payload": _payload(records["value"], valid)}
    return pa.table({name: columns[name] for name in SCHEMA.names}).cast(SCHEMA)


def _figure_rules(read: Mapping[str, pa.ChunkedArray]) -> list[tuple[pa.ChunkedArray, str]]:
    opening, high, low, close = (read[name] for name in PRICES)
    inside = pc.and_(
        pc.and_(pc.less_equal(low, opening), pc.less_equal(low, close)),
        pc.and_(pc.less_equal(opening, high), pc.less_equal(close, high)),
    )
    above_zero = pc.greater(pc.min_element_wise(opening, high, low, close), 0)
    return [
        (pc.invert(above_zero), "a price is not above zero"),
        (pc.invert(inside), "low <= open, close <= high does not hold"),
        (pc.less(read["volume"], 0), "volume is negative"),
    ]


def _time_rules(read: Mapping[str, pa.ChunkedArray], kafka_time: pa.ChunkedArray) -> list[tuple[pa.ChunkedArray, str]]:
    time, seconds, ingested = read["event_time"], read["interval_seconds"], read["ingested_at"]
    lasts = pc.and_(pc.greater_equal(seconds, 1), pc.less_equal(seconds, _INT_MAX))
    fits = pc.if_else(pc.equal(read["kind"], "bar"), lasts, pc.equal(seconds, 0))
    # No sum with the event's own time: it may be any 64 bits.
    ahead = pc.or_(pc.greater(time, pc.add(kafka_time, MAX_AHEAD_US)), pc.greater(time, _LAST_TIME))
    seconds_ahead = MAX_AHEAD_US // MICROSECONDS
    return [
        (pc.invert(fits), "interval_seconds does not fit the kind"),
        (pc.less_equal(time, 0), "event time is not after 1970"),
        (ahead, f"event time lies in the future: more than {seconds_ahead} s ahead of its record"),
        (pc.or_(pc.less(ingested, 1), pc.greater(ingested, _LAST_TIME)), "ingested_at is not a time"),
    ]


def _payload(values: pa.ChunkedArray, valid: pa.ChunkedArray) -> pa.Array:
    if pc.all(valid).as_py():
        return pa.nulls(len(values), pa.string())
    pairs = zip(values.to_pylist(), valid.to_pylist(), strict=True)
    return pa.array([None if ok or value is None else value.hex().upper() for value, ok in pairs], pa.string())


def _spark_type(kind: pa.DataType) -> str:
    if pa.types.is_decimal(kind):
        return f"decimal({kind.precision},{kind.scale})"
    return _SPARK_TYPES[kind]
