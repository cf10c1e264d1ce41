"""The candles of contract §8 once more, by Polars over whole numbers: exact, and fast enough for a whole market day.

`reference` is the plainer one, over fractions; a test holds the two equal.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import polars as pl

from tests.unit.transforms.reference import SECONDS, VOLUME_LIMIT

PRICES = ("open", "high", "low", "close")
#: Prices and volumes in units of 1e-8, times in microseconds. A null offset: not by Kafka.
EVENTS = pl.Schema(
    {
        **dict.fromkeys(("event_id", "symbol", "source", "kind"), pl.String),
        **dict.fromkeys(("event_time", "interval_seconds", *PRICES), pl.Int64),
        "volume": pl.Int128,
        "kafka_offset": pl.Int64,
        "revision": pl.Int64,
    }
)
_KAFKA_ORDER = (pl.col("kafka_offset").is_null(), pl.col("kafka_offset"))
_LARGEST = 2**127 - 1


def candles(events: pl.DataFrame, interval: str) -> dict[tuple[str, int], dict[str, Any]]:
    """As `reference.candles`. Raises OverflowError where its whole numbers would not do."""
    _check_room(events)
    length = SECONDS[interval] * 1_000_000
    counted = _counted(events).filter(pl.col("interval_seconds") * 1_000_000 <= length)
    windows = (
        counted.with_columns(start=pl.col("event_time") // length * length, is_quote=pl.col("kind") == "quote")
        .filter(pl.col("is_quote") == pl.col("is_quote").min().over("symbol", "start"))
        .sort("event_time", *_KAFKA_ORDER, "event_id")
        .group_by("symbol", "start", maintain_order=True)
        .agg(
            pl.col("open").first(),
            pl.col("high").max(),
            pl.col("low").min(),
            pl.col("close").last(),
            pl.col("source").last(),
            volume=pl.col("volume").sum(),
            volumes=pl.col("volume").count(),
            weighted=(pl.sum_horizontal(pl.col("high", "low", "close").cast(pl.Int128)) * pl.col("volume")).sum(),
            event_count=pl.len(),
        )
    )
    return {(row["symbol"], row["start"]): _candle(row) for row in windows.iter_rows(named=True)}


def units(name: str) -> pl.Expr:
    """A column of plain decimal texts of at most 8 decimals, in units of 1e-8."""
    parts = pl.col(name).str.split_exact(".", 1).struct
    decimals = parts.field("field_1").fill_null("").str.pad_end(8, "0")
    return (parts.field("field_0") + decimals).cast(pl.Int64)


def _counted(events: pl.DataFrame) -> pl.DataFrame:
    """The newest revision of each id; of the bars of one symbol, start and length the first."""
    newest = events.sort(-pl.col("revision"), *_KAFKA_ORDER).unique("event_id", keep="first", maintain_order=True)
    bars = newest.filter(pl.col("kind") == "bar").sort(*_KAFKA_ORDER, "event_id")
    fact = ["symbol", "event_time", "interval_seconds"]
    return pl.concat([newest.filter(pl.col("kind") != "bar"), bars.unique(fact, keep="first", maintain_order=True)])


def _candle(row: dict[str, Any]) -> dict[str, Any]:
    volume, has_volume = row["volume"], row["volumes"] > 0 and row["volume"] < VOLUME_LIMIT * 10**8
    vwap = None
    if has_volume and volume:
        # 1e-16 over 1e-8 leaves 1e-8; four places more, half up.
        vwap = _decimal((2 * 10**4 * row["weighted"] + 3 * volume) // (6 * volume), 12)
    return {
        **{name: _decimal(row[name], 8) for name in PRICES},
        "volume": _decimal(volume, 8) if has_volume else None,
        "vwap": vwap,
        "event_count": row["event_count"],
        "source": row["source"],
    }


def _decimal(figure: int, places: int) -> Decimal:
    return Decimal(f"{figure}E-{places}")


def _check_room(events: pl.DataFrame) -> None:
    if 3 * (events["high"].max() or 0) * (events["volume"].max() or 0) * len(events) > _LARGEST:
        raise OverflowError("prices and volumes are too large for sums of 128 bits")
