"""Contract §8 a second time, in plain Python over exact fractions: what the transform is held against."""

from __future__ import annotations

from collections import defaultdict
from decimal import ROUND_FLOOR, Decimal
from fractions import Fraction
from typing import Any

SECONDS = {"1m": 60, "5m": 300}
Row = dict[str, Any]


def kafka_first(row: Row) -> tuple[bool, int]:
    return (row["kafka_offset"] is None, row["kafka_offset"] or 0)


def candles(events: list[Row], interval: str) -> dict[tuple[str, int], Row]:
    """By (symbol, window start in microseconds)."""
    length = SECONDS[interval] * 1_000_000
    newest: dict[str, Row] = {}
    for row in sorted(events, key=kafka_first):
        held = newest.get(row["event_id"])
        if held is None or row["revision"] > held["revision"]:
            newest[row["event_id"]] = row
    facts: dict[Any, Row] = {}
    for row in sorted(newest.values(), key=lambda row: (kafka_first(row), row["event_id"])):
        if row["kind"] == "bar":
            facts.setdefault((row["symbol"], row["event_time"], row["interval_seconds"]), row)
        else:
            facts[row["event_id"]] = row
    windows: dict[tuple[str, int], list[Row]] = defaultdict(list)
    for row in facts.values():
        if row["interval_seconds"] * 1_000_000 <= length:
            windows[row["symbol"], row["event_time"] // length * length].append(row)
    return {key: _candle(rows) for key, rows in windows.items()}


def _candle(rows: list[Row]) -> Row:
    rows = [row for row in rows if row["kind"] != "quote"] or rows
    rows.sort(key=lambda row: (row["event_time"], kafka_first(row), row["event_id"]))
    volumes = [Fraction(row["volume"]) for row in rows if row["volume"] is not None]
    weighted = sum(
        Fraction(row["volume"]) * (Fraction(row["high"]) + Fraction(row["low"]) + Fraction(row["close"])) / 3
        for row in rows
        if row["volume"] is not None
    )
    total = sum(volumes, Fraction(0))
    return {
        "open": rows[0]["open"],
        "high": max(row["high"] for row in rows),
        "low": min(row["low"] for row in rows),
        "close": rows[-1]["close"],
        "volume": as_decimal(total, 8) if volumes else None,
        "vwap": as_decimal(weighted / total, 12) if total else None,
        "event_count": len(rows),
        "source": rows[-1]["source"],
    }


def as_decimal(figure: Fraction, places: int) -> Decimal:
    """Rounded half up, exactly."""
    steps = (figure * 10**places * 2 + 1) / 2
    return (
        Decimal(steps.numerator // steps.denominator)
        .scaleb(-places)
        .quantize(Decimal(1).scaleb(-places), rounding=ROUND_FLOOR)
    )
