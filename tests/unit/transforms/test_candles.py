from __future__ import annotations

import random
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from pyspark.sql import SparkSession

from include.market.candle import INTERVAL_SECONDS, Interval
from include.market.tables import EVENT_SCHEMA
from spark_jobs.transforms.candles import candles_of
from tests.unit.transforms import reference

S = 1_700_000_100  # starts a window of five minutes
Row = dict[str, Any]


def event(kind: str, at: float, prices: str, volume: str | None = None, **more: Any) -> Row:
    """`at` in seconds after S; `prices` is 'o h l c' or one price."""
    figures = [Decimal(price) for price in prices.split()]
    opening, high, low, close = figures if len(figures) == 4 else figures * 4
    offset = more.get("kafka_offset", 0)
    row = {
        "event_id": f"{kind}:{at}:{offset}",
        "symbol": "AAPL",
        "source": "yahoo",
        "kind": kind,
        "event_time": int((S + at) * 1_000_000),
        "interval_seconds": 60 if kind == "bar" else 0,
        "open": opening,
        "high": high,
        "low": low,
        "close": close,
        "volume": None if volume is None else Decimal(volume),
        "kafka_partition": None if offset is None else 0,
        "kafka_offset": offset,
        "revision": 0,
    }
    return row | more


def run(spark: SparkSession, events: list[Row], interval: Interval = "1m") -> dict[tuple[str, int], Row]:
    frame = spark.createDataFrame(pa.Table.from_pylist(events, schema=EVENT_SCHEMA))
    rows = candles_of(frame, interval).toArrow()
    assert rows.schema.field("volume").type == pa.decimal128(28, 8)
    assert rows.schema.field("vwap").type == pa.decimal128(28, 12)
    found = {}
    for row in rows.to_pylist():
        assert row.pop("interval") == interval
        key = (row.pop("symbol"), round(row.pop("window_start").timestamp() * 1e6))
        assert key not in found
        found[key] = row
    return found


def only(candles: dict[tuple[str, int], Row]) -> Row:
    (candle,) = candles.values()
    return candle


def figures(candle: Row) -> str:
    names = ("open", "high", "low", "close", "volume", "vwap", "event_count")
    return " ".join(
        format(value.normalize(), "f") if isinstance(value, Decimal) else str(value)
        for value in (candle[name] for name in names)
    )


# name: (events, interval, "open high low close volume vwap count" of the only candle)
CASES: dict[str, tuple[list[Row], Interval, str]] = {
    "one bar": ([event("bar", 0, "1 4 1 2", "10")], "1m", "1 4 1 2 10 2.333333333333 1"),
    "trades by time, not by arrival": (
        [event("trade", 5, "7", kafka_offset=1), event("trade", 1, "5", kafka_offset=2)],
        "1m",
        "5 7 5 7 None None 2",
    ),
    "equal times by offset": (
        [event("trade", 1, str(price), kafka_offset=price) for price in (3, 1, 2)],
        "1m",
        "1 3 1 3 None None 3",
    ),
    "not by Kafka comes after": (
        [event("trade", 1, "9", kafka_offset=None), event("trade", 1, "2", kafka_offset=7)],
        "1m",
        "2 9 2 9 None None 2",
    ),
    "an offset of zero is before none": (
        [event("trade", 1, "9", kafka_offset=None), event("trade", 1, "2", kafka_offset=0)],
        "1m",
        "2 9 2 9 None None 2",
    ),
    "quotes only": (
        [event("quote", 1, "5"), event("quote", 2, "6")],
        "1m",
        "5 6 5 6 None None 2",
    ),
    "a bar replaces quotes": (
        [event("quote", 1, "50"), event("bar", 0, "1 4 1 2", "3")],
        "1m",
        "1 4 1 2 3 2.333333333333 1",
    ),
    "a trade replaces quotes": (
        [event("quote", 1, "50"), event("trade", 59.999999, "2", "3")],
        "1m",
        "2 2 2 2 3 2 1",
    ),
    "a repeated id counts once, the first by Kafka": (
        [
            event("trade", 1, "9", "5", event_id="x", kafka_offset=8),
            event("trade", 1, "2", "3", event_id="x", kafka_offset=4),
        ],
        "1m",
        "2 2 2 2 3 2 1",
    ),
    "the newest revision counts": (
        [
            event("bar", 0, "1 4 1 2", "10", event_id="x"),
            event("bar", 0, "2 2 2 2", "6", event_id="x", kafka_offset=None, revision=2),
            event("bar", 0, "3 3 3 3", "5", event_id="x", kafka_offset=None, revision=1),
        ],
        "1m",
        "2 2 2 2 6 2 1",
    ),
    "two sources, one bar: the first by offset": (
        [
            event("bar", 0, "9 9 9 9", "5", source="alpha_vantage", event_id="a", kafka_offset=6),
            event("bar", 0, "1 1 1 1", "4", source="yahoo", event_id="y", kafka_offset=5),
        ],
        "1m",
        "1 1 1 1 4 1 1",
    ),
    "two sources, one bar: Kafka before backfill": (
        [
            event("bar", 0, "9 9 9 9", "5", event_id="a", kafka_offset=None),
            event("bar", 0, "1 1 1 1", "4", event_id="y", kafka_offset=5),
        ],
        "1m",
        "1 1 1 1 4 1 1",
    ),
    "a bar longer than the window is not used": (
        [event("bar", 0, "9 9 9 9", "5", interval_seconds=300), event("quote", 3, "2")],
        "1m",
        "2 2 2 2 None None 1",
    ),
    "it is used where it fits": (
        [event("bar", 0, "9 9 9 9", "5", interval_seconds=300), event("quote", 3, "2")],
        "5m",
        "9 9 9 9 5 9 1",
    ),
    "a daily bar is in no candle": (
        [event("bar", 0, "9", "5", interval_seconds=86_400), event("trade", 0, "1")],
        "5m",
        "1 1 1 1 None None 1",
    ),
    "five bars, one window": (
        [event("bar", 60 * n, f"{n + 1} {n + 9} 1 {n + 2}", "2", kafka_offset=9 - n) for n in range(5)],
        "5m",
        "1 13 1 6 10 5.333333333333 5",
    ),
    "null volumes do not count": (
        [event("trade", 1, "5"), event("trade", 2, "7", "4", kafka_offset=1)],
        "1m",
        "5 7 5 7 4 7 2",
    ),
    "zero volume has no vwap": ([event("trade", 1, "5", "0")], "1m", "5 5 5 5 0 None 1"),
    "vwap rounds half up": (
        [event("trade", 1, "0.00000001", "1"), event("trade", 2, "0.00000002", "19999", kafka_offset=1)],
        "1m",
        "0.00000001 0.00000002 0.00000001 0.00000002 20000 0.00000002 2",
    ),
    "large figures lose nothing": (
        [event("trade", 1, "9999999999.99999999", "99999999999.99999999")],
        "1m",
        "9999999999.99999999 " * 4 + "99999999999.99999999 9999999999.99999999 1",
    ),
    "a volume sum that no column holds is null and stops nothing": (
        [event("trade", n, "1", "6" + "0" * 19, kafka_offset=n) for n in range(2)],
        "1m",
        "1 1 1 1 None None 2",
    ),
    "a product that no decimal holds makes vwap null": (
        [event("trade", 1, "9999999999", "9" * 20), event("trade", 2, "1", "0.5", kafka_offset=1)],
        "1m",
        "9999999999 9999999999 1 1 99999999999999999999.5 None 2",
    ),
}


@pytest.fixture(scope="module")
def by_hand(spark: SparkSession) -> dict[Interval, dict[tuple[str, int], Row]]:
    """All cases at once, each under a symbol of its own: a run apiece would take minutes."""
    events = [row | {"symbol": case} for case, (rows, _, _) in CASES.items() for row in rows]
    return {interval: run(spark, events, interval) for interval in INTERVAL_SECONDS}


@pytest.mark.parametrize("case", CASES)
def test_by_hand(by_hand: dict[Interval, dict[tuple[str, int], Row]], case: str) -> None:
    _, interval, expected = CASES[case]
    found = [figures(candle) for (symbol, _), candle in by_hand[interval].items() if symbol == case]
    assert found == [expected]


def test_window_edges(spark: SparkSession) -> None:
    events = [event("trade", at, "1", kafka_offset=n) for n, at in enumerate((-0.000001, 0, 59.999999, 60))]
    starts = {start // 1_000_000 - S: row["event_count"] for (_, start), row in run(spark, events).items()}
    assert starts == {-60: 1, 0: 2, 60: 1}


def test_source_is_that_of_the_closing_event(spark: SparkSession) -> None:
    events = [
        event("trade", 2, "1", source="binance", kafka_offset=0),
        event("trade", 1, "1", source="yahoo", kafka_offset=1),
    ]
    assert only(run(spark, events))["source"] == "binance"


def random_events(seed: int, count: int = 1500) -> list[Row]:
    dice = random.Random(seed)
    offsets: list[int | None] = list(range(count))
    dice.shuffle(offsets)
    events = []
    for offset in offsets:
        kind = dice.choice(["bar", "trade", "quote"])
        symbol = dice.choice(["AAPL", "MSFT", "BTC-USD"])
        length = dice.choice([60, 60, 300, 3600]) if kind == "bar" else 0
        at = dice.randrange(0, 30) * 60 if kind == "bar" else dice.randrange(0, 1800 * 4) / 4
        low, high = sorted(Decimal(dice.randrange(1, 10 ** dice.randrange(2, 15))).scaleb(-8) for _ in "ab")
        inner = [low + (high - low) * dice.randrange(5) / 4 for _ in "ab"]
        opening, close = (price.quantize(Decimal("1E-8")) for price in inner)
        volume = None if dice.random() < 0.2 else Decimal(dice.randrange(10 ** dice.randrange(1, 18))).scaleb(-8)
        source = dice.choice(["yahoo", "binance", "coingecko"])
        row = event(
            kind, at, f"{opening} {high} {low} {close}", symbol=symbol, source=source, volume=volume,
            interval_seconds=length, kafka_offset=None if dice.random() < 0.2 else offset,
            event_id=f"{source}:{symbol}:{kind}{length}:{at}", revision=dice.choice([0, 0, 0, 1]),
        )  # fmt: skip
        if row["kafka_offset"] is None:
            row["kafka_partition"] = None
            # Two rows with neither an offset nor a different revision would be one key twice.
            row["revision"] = 10 + offset if offset is not None else 10
        events.append(row)
    return events


@pytest.mark.parametrize("interval", INTERVAL_SECONDS)
def test_equals_an_independent_calculation(spark: SparkSession, interval: Interval) -> None:
    events = [
        row | {"symbol": f"{row['symbol']}.{seed}", "event_id": f"{row['event_id']}.{seed}"}
        for seed in range(8)
        for row in random_events(seed)
    ]
    expected = reference.candles(events, interval)
    found = run(spark, events, interval)
    assert len(expected) > 100
    assert found == expected
