"""Recorded days as records of a topic, whole columns at a time, and as events of the fast reference."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa

from include.market.event import AssetClass, plain
from tests.integration.deliveries import DELAY_US, PARTITIONS, RECORDS, SECOND
from tests.integration.expected import Key, Truth
from tests.unit.transforms import exact, reference

_FIGURES = (*exact.PRICES, "volume")
#: In the order of the encoded event; texts are quoted there, numbers are not.
_TEXTS = ("event_id", "symbol", "asset_class", "source", "kind")
_TEMPLATE = (
    "{"
    + "".join(f'"{name}":"{{}}",' for name in _TEXTS)
    + '"event_time":{},"interval_seconds":{},'
    + "".join(f'"{name}":"{{}}",' for name in _FIGURES)
    + '"currency":"USD","ingested_at":{},"schema_version":1}'
)


@dataclass(frozen=True)
class Day:
    """Events in order of arrival: `exact.EVENTS`, figures as they were recorded under `<name>_text`, `at`, offsets."""

    asset_class: AssetClass
    events: pl.DataFrame

    def batches(self, most: int) -> Iterator[pa.Table]:
        """RECORDS, at most so many each, cut unevenly."""
        dice = np.random.default_rng(most)
        first = 0
        while first < len(self.events):
            size = int(dice.integers(most // 2, most + 1))
            yield _records(self.events[first : first + size], self.asset_class)
            first += size

    def candles(self) -> dict[Key, tuple[object, ...]]:
        """By key, `expected.CANDLE_COLUMNS`."""
        truth = Truth(newest=self.events["event_time"].max())
        return {
            (symbol, interval, start): (*candle.values(), truth.is_final(interval, start))
            for interval in reference.SECONDS
            for (symbol, start), candle in exact.candles(self.events, interval).items()
        }


def trades(folder: Path, most: int | None = None) -> Day:
    """The recorded trades of four stocks on one day, or the first `most` of each."""
    frames = [
        _read(file, most).select(
            "symbol", "time", *(pl.col("price").alias(name) for name in exact.PRICES), pl.col("size").alias("volume")
        )
        for file in sorted((folder / "trades" / "us_equity").glob("*.csv.gz"))
    ]
    return _day("stock", "trade", frames)


def crypto_trades(folder: Path) -> Day:
    frame = _read(folder / "trades" / "crypto" / "binance_BTCUSDT_20201116.csv.gz", None)
    prices = (pl.col("price").alias(name) for name in exact.PRICES)
    # Some are recorded as 1e-06.
    volume = pl.col("quantity").map_elements(lambda text: plain(Decimal(text)), pl.String).alias("volume")
    return _day("crypto", "trade", [frame.select("symbol", "time", *prices, volume)])


def bars(folder: Path, asset_class: AssetClass) -> Day:
    """All recorded minute bars of the class."""
    kind = {"stock": "us_equity", "crypto": "crypto"}[asset_class]
    files = sorted((folder / "bars_1m" / kind).glob("*.csv.gz"))
    return _day(asset_class, "bar", [_read(file, None).select("symbol", "time", *_FIGURES) for file in files])


def _read(file: Path, most: int | None) -> pl.DataFrame:
    frame = pl.read_csv(file, infer_schema=False, n_rows=most)
    return frame.with_columns(time=pl.col("ts_utc").str.to_datetime(time_unit="us", time_zone="UTC"))


def _day(asset_class: AssetClass, kind: str, frames: list[pl.DataFrame]) -> Day:
    """Each event arrives up to a watermark's delay late, so that all orders inside it come about."""
    dice = np.random.default_rng(5)
    length = 60 if kind == "bar" else 0
    facts = pl.concat(frames).with_row_index("number").with_columns(event_time=pl.col("time").dt.epoch("us"))
    delays = dice.integers(0, DELAY_US, len(facts))
    partition = {name: zlib.crc32(name.encode()) % PARTITIONS for name in facts["symbol"].unique()}
    arrived = facts.with_columns(
        pl.lit("binance").alias("source"),
        pl.lit(kind).alias("kind"),
        pl.lit(length, pl.Int64).alias("interval_seconds"),
        pl.lit(0, pl.Int64).alias("revision"),
        event_id=pl.format("binance:{}:{}:{}", "symbol", pl.lit(kind), "number"),
        at=pl.col("event_time") + pl.Series(delays),
        kafka_partition=pl.col("symbol").replace_strict(partition, return_dtype=pl.Int32),
        **{f"{name}_text": pl.col(name) for name in _FIGURES},
    ).sort("at", "number")
    events = arrived.with_columns(
        *(exact.units(name).alias(name) for name in exact.PRICES),
        exact.units("volume").cast(pl.Int128).alias("volume"),
        kafka_offset=pl.int_range(pl.len()).over("kafka_partition").cast(pl.Int64),
    )
    return Day(asset_class, events)


def _records(events: pl.DataFrame, asset_class: AssetClass) -> pa.Table:
    fields = [pl.lit(asset_class) if name == "asset_class" else pl.col(name) for name in _TEXTS]
    times = [pl.col("event_time"), pl.col("interval_seconds")]
    figures = [pl.col(f"{name}_text") for name in _FIGURES]
    # Polars takes a brace as a place unless it is doubled.
    body = pl.format(_TEMPLATE[1:-1], *fields, *times, *figures, pl.col("at"))
    made = events.select(
        value=pl.concat_str(pl.lit("{"), body, pl.lit("}")).cast(pl.Binary),
        topic=pl.lit(asset_class),
        partition=pl.col("kafka_partition"),
        offset=pl.col("kafka_offset"),
        # A bar is there when its minute has ended.
        timestamp=pl.from_epoch(pl.col("at") + pl.col("interval_seconds") * SECOND, time_unit="us"),
    )
    return made.to_arrow().cast(RECORDS)
