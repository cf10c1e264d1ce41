"""The candles of every side in one form, and where they differ."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

import pyarrow as pa
from confluent_kafka import Consumer, TopicPartition

from benchmarks.stream_parts.stores import Stores
from include.errors import MarketDataError
from include.market.candle import FIGURES

#: (symbol, interval, start in epoch seconds) to (open, high, low, close, volume, vwap, count)
Candles = dict[tuple[str, str, int], tuple[Decimal, ...]]
_FIGURES = [name for name in FIGURES if name != "source"]
_COLUMNS = "symbol, interval, extract(epoch FROM window_start)::bigint"
_READ_SECONDS = 60


class CandlesDiffer(MarketDataError):
    """Two sides computed unlike candles from the same records: no time of theirs counts."""


def stored(held: Stores, before_us: int) -> Candles:
    """What the driver left in PostgreSQL, of the windows that begin before that time."""
    with held.connect() as connection:
        rows = connection.execute(
            f"SELECT {_COLUMNS}, {', '.join(_FIGURES)} FROM candles WHERE window_start < to_timestamp(%s)",
            (before_us / 1e6,),
        ).fetchall()
    return {(row[0], row[1], row[2]): tuple(Decimal(value) for value in row[3:]) for row in rows}


def from_lines(lines: Iterable[bytes | str], before_us: int) -> Candles:
    """Of JSON lines `[symbol, interval, start in epoch seconds, figures as text …]`; a later line replaces."""
    found: Candles = {}
    for line in lines:
        symbol, interval, start, *values = json.loads(line)
        if start * 1_000_000 < before_us:
            found[symbol, interval, start] = tuple(Decimal(value) for value in values)
    return found


def from_table(table: pa.Table, before_us: int) -> Candles:
    """Of a table with the columns of `candles`."""
    rows = ((row, int(row["window_start"].timestamp())) for row in table.to_pylist())
    return {
        (row["symbol"], row["interval"], start): tuple(Decimal(row[name]) for name in _FIGURES)
        for row, start in rows
        if start * 1_000_000 < before_us
    }


def from_topic(servers: str, topic: str, before_us: int) -> Candles:
    """Of all records of a topic, in its order. Raises MarketDataError where Kafka does not give them."""
    settings = {"bootstrap.servers": servers, "group.id": "bench-reader", "enable.auto.commit": False}
    consumer = Consumer(settings)
    try:
        partitions = consumer.list_topics(topic, timeout=10).topics[topic].partitions
        ends = {p: consumer.get_watermark_offsets(TopicPartition(topic, p), timeout=10)[1] for p in partitions}
        consumer.assign([TopicPartition(topic, partition, 0) for partition in ends])
        left = sum(ends.values())
        lines = []
        while left:
            message = consumer.poll(_READ_SECONDS)
            if message is None or message.error() is not None:
                raise MarketDataError(f"{topic}: {left} records did not come")
            lines.append(message.value() or b"")
            left -= 1
        return from_lines(lines, before_us)
    finally:
        consumer.close()


def must_equal(sides: Mapping[str, Candles]) -> dict[str, Any]:
    """How many candles all sides have alike. Raises CandlesDiffer, which names the first that is not."""
    (first, expected), *others = sides.items()
    if not expected:
        raise CandlesDiffer(f"{first} has no candles")
    for name, found in others:
        for key in sorted(expected.keys() | found.keys()):
            if expected.get(key) != found.get(key):
                raise CandlesDiffer(f"{key}: {first} has {_text(expected.get(key))}, {name} {_text(found.get(key))}")
    return {"sides": list(sides), "candles": len(expected), "events_in_1m": _events(expected)}


def _events(candles: Candles) -> int:
    return int(sum(values[-1] for (_, interval, _), values in candles.items() if interval == "1m"))


def _text(values: tuple[Decimal, ...] | None) -> str:
    return "none" if values is None else " ".join(f"{value.normalize():f}" for value in values)
