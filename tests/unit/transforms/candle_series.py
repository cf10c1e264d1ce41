"""Candles for the tests of indicators and anomalies: recorded days, made-up series, and parts of histories."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from hypothesis import strategies as st

from spark_jobs.transforms.indicators.registry import Lookback

MICROSECONDS = {"1m": 60_000_000, "5m": 300_000_000}
START = 1_700_000_100_000_000  # starts a window of five minutes
SCHEMA = pa.schema(
    [
        ("symbol", pa.string()),
        ("interval", pa.string()),
        ("window_start", pa.timestamp("us", "UTC")),
        ("close", pa.decimal128(18, 8)),
        ("volume", pa.decimal128(28, 8)),
        ("source", pa.string()),
    ]
)


def table(
    closes: Sequence[float | str],
    *,
    steps: Sequence[int] | None = None,
    volumes: Sequence[float | str | None] | None = None,
    sources: Sequence[str] | None = None,
    symbol: str = "AAPL",
    interval: str = "1m",
) -> pa.Table:
    """Candles of one symbol; `steps`: how many intervals after the candle before each one starts."""
    count = len(closes)
    places = np.cumsum([1] * count if steps is None else steps, dtype=np.int64)
    figures = {
        "symbol": [symbol] * count,
        "interval": [interval] * count,
        "window_start": pa.array(START + places * MICROSECONDS[interval]).cast(SCHEMA.field("window_start").type),
        "close": [Decimal(str(close)).quantize(Decimal("1E-8")) for close in closes],
        "volume": [
            None if volume is None else Decimal(str(volume)).quantize(Decimal("1E-8"))
            for volume in volumes or [1] * count
        ],
        "source": sources or ["yahoo"] * count,
    }
    return pa.table(figures, schema=SCHEMA)


@dataclass(frozen=True)
class MadeUp:
    """A strategy's parts, small enough to shrink: a shape of the market and a seed for its chance."""

    seed: int
    count: int
    interval: str
    scatter: float
    chance_of_gap: float
    chance_of_null: float
    chance_of_switch: float
    chance_of_jump: float
    half_session: int

    def table(self, symbol: str = "AAPL") -> pa.Table:
        dice = np.random.default_rng(self.seed)
        moves = np.round(dice.normal(0, 1, self.count) * self.scatter, 2)  # rounded: ties and a sigma of 0 happen
        moves += np.where(dice.random(self.count) < self.chance_of_jump, dice.choice([-8, 8]), 0)
        closes = np.maximum(100 + np.cumsum(moves), 0.01)
        steps = np.where(dice.random(self.count) < self.chance_of_gap, dice.integers(2, 9, self.count), 1)
        steps[self.half_session :: self.half_session] = 900  # the market was closed
        # At most what the column holds.
        volumes = np.minimum(np.round(np.exp(dice.normal(5, 10 * self.scatter + 1e-9, self.count))), 9e19)
        kept = [
            None if null else float(v)
            for v, null in zip(volumes, dice.random(self.count) < self.chance_of_null, strict=True)
        ]
        switches = np.cumsum(dice.random(self.count) < self.chance_of_switch)
        return table(
            [f"{close:.2f}" for close in closes],
            steps=steps.tolist(),
            volumes=kept,
            sources=[("yahoo", "alpha_vantage")[switch % 2] for switch in switches],
            symbol=symbol,
            interval=self.interval,
        )


def made_up(most: int = 250) -> st.SearchStrategy[MadeUp]:
    return st.builds(
        MadeUp,
        seed=st.integers(0, 2**32),
        count=st.integers(1, most),
        interval=st.sampled_from(["1m", "5m"]),
        scatter=st.sampled_from([0.0, 0.003, 0.05, 1.0]),
        chance_of_gap=st.sampled_from([0.0, 0.05, 0.5]),
        chance_of_null=st.sampled_from([0.0, 0.1, 0.9, 1.0]),
        chance_of_switch=st.sampled_from([0.0, 0.02, 0.3]),
        chance_of_jump=st.sampled_from([0.0, 0.01]),
        half_session=st.sampled_from([15, 70, 195, 10_000]),
    )


def recorded(folder: Path) -> pa.Table:
    """The recorded minute bars of all symbols as candles of 1m and 5m."""
    files = sorted((folder / "bars_1m").glob("*/*.csv.gz"))
    tables = []
    for file in files:
        bars = pd.read_csv(file, usecols=["ts_utc", "close", "volume"], parse_dates=["ts_utc"]).set_index("ts_utc")
        wider = bars.resample("5min").agg({"close": "last", "volume": "sum"}).dropna()
        for interval, rows in (("1m", bars), ("5m", wider)):
            figures = {
                "symbol": [file.name] * len(rows),  # two days of SPY ten years apart are two symbols here
                "interval": [interval] * len(rows),
                "window_start": pa.array(rows.index.as_unit("us")),
                "close": [Decimal(f"{close:.8f}") for close in rows["close"]],
                "volume": [Decimal(f"{volume:.8f}") for volume in rows["volume"]],
                "source": ["yahoo"] * len(rows),
            }
            tables.append(pa.table(figures, schema=SCHEMA))
    return pa.concat_tables(tables)


def cut(history: pa.Table, computed: pa.Table, lookback: Lookback, seeded: Sequence[str]) -> Iterator[pa.Table]:
    """For each place of one series what the stream would give to compute it: context, itself and what follows.

    `computed`: the figures of the whole history, from which the seeds and the returns' places are taken. Each part
    comes under a symbol of its own, `cut <place>`, so that one call computes all of them.
    """
    returns = np.flatnonzero(computed["log_return"].is_valid())
    volumes = np.flatnonzero(history["volume"].is_valid())
    for place in range(history.num_rows):
        oldest = [max(0, place - lookback.closes)]
        for places, wanted in ((returns, lookback.returns), (volumes, lookback.volumes)):
            earlier = places[places < place][-wanted:]
            oldest += earlier[:1].tolist()
        first = max(0, min(oldest) - 1)
        part = history.slice(first, place + 3 - first)
        part = part.set_column(0, "symbol", pa.array([f"cut {place}"] * part.num_rows))
        for name in seeded:
            seed = computed[name][first].as_py()
            part = part.append_column(f"seed_{name}", pa.array([seed] + [None] * (part.num_rows - 1), pa.float64()))
        yield part
