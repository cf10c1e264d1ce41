from __future__ import annotations

import math
import random
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from pyspark.sql import SparkSession

from spark_jobs.transforms.dataframes import indicators_of
from spark_jobs.transforms.indicators import INDICATORS, LOOKBACK, SEEDED, indicators_of_table
from spark_jobs.transforms.indicators.ema import ema
from spark_jobs.transforms.indicators.indicator import History, Indicator
from spark_jobs.transforms.indicators.registry import lookback
from spark_jobs.transforms.indicators.sma import sma
from spark_jobs.transforms.series import FloatArray, doubles
from tests.unit.transforms import reference
from tests.unit.transforms.candle_series import MadeUp, cut, made_up, recorded, table

KEY = ["symbol", "interval", "window_start"]
CONTRACT = (
    "sma_20", "ema_12", "ema_26", "bollinger_upper", "bollinger_middle", "bollinger_lower", "volatility_20",
)  # fmt: skip


def frame(candles: pa.Table) -> pd.DataFrame:
    """As the reference wants them: floats, by key."""
    rows = candles.to_pandas()
    rows[["close", "volume"]] = rows[["close", "volume"]].astype(float)
    return rows.sort_values(KEY, ignore_index=True)


def assert_as_reference(candles: pa.Table) -> None:
    found = indicators_of_table(candles).to_pandas().sort_values(KEY, ignore_index=True)
    expected = reference.indicators(frame(candles))
    pd.testing.assert_frame_equal(found, expected, check_exact=False, rtol=1e-9, atol=0)


def column(candles: pa.Table, name: str) -> list[float | None]:
    values: list[float | None] = indicators_of_table(candles)[name].to_pylist()
    return values


def bits(rows: pa.Table) -> dict[tuple[object, ...], tuple[object, ...]]:
    """By (interval, window_start): every figure to the last bit."""
    names = [name for name in rows.column_names if name not in KEY]
    return {
        (row["interval"], row["window_start"]): tuple(None if row[name] is None else row[name].hex() for name in names)
        for row in rows.to_pylist()
    }


def test_the_contracts_columns() -> None:
    assert indicators_of_table(table([1])).column_names == [*KEY, "log_return", *CONTRACT]
    assert SEEDED == ("ema_12", "ema_26")
    assert LOOKBACK == (20, 60, 60)


def test_by_hand() -> None:
    rows = indicators_of_table(table(range(1, 22))).to_pylist()
    assert [row["sma_20"] for row in rows] == [None] * 19 + [10.5, 11.5]
    assert [row["bollinger_middle"] for row in rows] == [None] * 19 + [10.5, 11.5]
    band = 2 * math.sqrt(33.25)  # the variance of twenty steps is (20² - 1) / 12
    assert [rows[20]["bollinger_upper"], rows[20]["bollinger_lower"]] == pytest.approx([11.5 + band, 11.5 - band])
    assert [row["ema_12"] for row in rows[:3]] == pytest.approx([1, 1 + 2 / 13, 1 + 2 / 13 + 2 / 13 * (2 - 2 / 13)])
    assert [row["log_return"] for row in rows[:2]] == [None, math.log(2)]
    assert [row["volatility_20"] is None for row in rows] == [True] * 20 + [False]


@pytest.mark.parametrize(("intervals", "has_return"), [(1, True), (5, True), (6, False)])
@pytest.mark.parametrize("interval", ["1m", "5m"])
def test_a_return_reaches_five_intervals_back(interval: str, intervals: int, has_return: bool) -> None:
    returns = column(table([1, 2, 4], steps=[1, intervals, 1], interval=interval), "log_return")
    assert returns == [None, math.log(2) if has_return else None, math.log(2)]


def test_no_return_across_a_change_of_source() -> None:
    candles = table([1, 2, 4, 8], sources=["yahoo", "yahoo", "alpha_vantage", "alpha_vantage"])
    assert column(candles, "log_return") == [None, math.log(2), None, math.log(2)]


def test_volatility_passes_over_nulls_and_holds_at_them() -> None:
    """Twenty-one returns, a gap, one more: the gap's candle repeats what was known before it."""
    closes = [100 + n % 3 for n in range(24)]
    found = column(table(closes, steps=[1] * 22 + [99, 1]), "volatility_20")
    assert found[19] is None
    assert found[20] is not None
    assert found[22] == found[21] != found[20]
    returns = np.log(np.array(closes[1:]) / np.array(closes[:-1]))
    assert found[23] == pytest.approx(np.std([*returns[2:21], returns[22]], ddof=1), rel=1e-12)


def test_equal_closes_have_bands_of_no_width() -> None:
    last = indicators_of_table(table(["0.1"] * 40)).to_pylist()[-1]
    for name in (*CONTRACT[:-1],):
        assert last[name] == 0.1
    assert last["volatility_20"] == 0


def test_decimals_become_the_nearest_doubles() -> None:
    """A return of one tick in a million would not survive a last digit that is off."""
    dice = random.Random(1)
    prices = [Decimal(dice.randrange(1, 10 ** dice.randrange(1, 19))).scaleb(-8) for _ in range(2000)]
    found = doubles(pa.chunked_array([pa.array([*prices, None], pa.decimal128(18, 8))]))
    assert found[:-1].tolist() == [float(price) for price in prices]
    assert math.isnan(found[-1])


def test_no_candles() -> None:
    found = indicators_of_table(table([1]).slice(0, 0))
    assert found.num_rows == 0
    assert found.schema.field("sma_20").type == pa.float64()


def test_equals_pandas_on_recorded_days(shared_data: Path) -> None:
    candles = recorded(shared_data)
    assert candles.num_rows > 20_000
    assert_as_reference(candles)


@settings(max_examples=60, deadline=None)
@given(made_up())
def test_equals_pandas_on_made_up_series(series: MadeUp) -> None:
    assert_as_reference(series.table())


def added() -> tuple[Indicator, ...]:
    """A longer window, a seeded one and one of volumes, that are not in the registry."""

    def mean_volume(history: History) -> tuple[FloatArray, ...]:
        present, places = history.volume.present()
        moments = present.moments(80)
        return (history.volume.carried(np.where(moments.count == 80, moments.mean, np.nan), places),)

    return sma(50), ema(5), Indicator(("mean_volume_80",), mean_volume, volumes=80)


@pytest.mark.parametrize("indicators", [INDICATORS, (*INDICATORS, *added())], ids=["registry", "with new ones"])
@settings(max_examples=12, deadline=None)
@given(series=made_up(300))
def test_context_gives_the_bits_of_the_whole_history(indicators: Sequence[Indicator], series: MadeUp) -> None:
    history = series.table()
    whole = indicators_of_table(history, indicators)
    seeded = [name for indicator in indicators if indicator.seeded for name in indicator.columns]
    parts = list(cut(history, whole, lookback(indicators), seeded))
    found = indicators_of_table(pa.concat_tables(parts), indicators)
    expected = bits(whole)
    starts = history["window_start"].to_pylist()
    for place, start in enumerate(starts):
        part = bits(found.filter(pc.equal(found["symbol"], f"cut {place}")))
        for wanted in starts[place : place + 3]:
            key = (series.interval, wanted)
            assert part[key] == expected[key], f"from {start}"


def test_order_and_company_do_not_matter() -> None:
    dice = np.random.default_rng(7)
    shape = MadeUp(3, 120, "1m", 0.05, 0.05, 0.1, 0.02, 0.01, 70)
    alone = [shape.table("A"), MadeUp(4, 90, "5m", 1.0, 0.0, 0.0, 0.0, 0.0, 70).table("A"), shape.table("B")]
    together = pa.concat_tables(alone)
    shuffled = indicators_of_table(together.take(dice.permutation(together.num_rows)))
    assert shuffled.num_rows == together.num_rows
    for part in alone:
        symbol, interval = part["symbol"][0].as_py(), part["interval"][0].as_py()
        chosen = pc.and_(pc.equal(shuffled["symbol"], symbol), pc.equal(shuffled["interval"], interval))
        assert shuffled.filter(chosen).equals(indicators_of_table(part).select(shuffled.column_names))


def test_a_new_indicator_needs_nothing_else(spark: SparkSession) -> None:
    """One object: its column appears in both forms, and the stream reads back as far as it needs."""

    def momentum(history: History) -> tuple[FloatArray, ...]:
        close = history.close
        earlier = np.concatenate((np.full(3, np.nan), close.values[:-3]))
        return (np.where(close.before >= 3, close.values - earlier, np.nan),)

    indicators = (*INDICATORS, Indicator(("momentum_3",), momentum, closes=100))
    candles = table([1, 2, 4, 8, 16])
    assert indicators_of_table(candles, indicators)["momentum_3"].to_pylist() == [None, None, None, 7, 14]
    rows = indicators_of(spark.createDataFrame(candles), indicators).orderBy("window_start").toArrow()
    assert rows["momentum_3"].to_pylist() == [None, None, None, 7, 14]
    assert lookback(indicators) == (100, 60, 60)


def test_the_frames_figures_are_the_tables(spark: SparkSession) -> None:
    """From decimals, over several partitions of whole keys, with seeds on some and without on others."""
    candles = pa.concat_tables(
        MadeUp(seed, 150, interval, 0.05, 0.05, 0.1, 0.02, 0.01, 70).table(f"S{seed}")
        for seed in range(6)
        for interval in ("1m", "5m")
    )
    seeds = pa.array([101.5 if place == 0 else None for place in range(candles.num_rows)], pa.float64())
    candles = candles.append_column("seed_ema_12", seeds)
    expected = indicators_of_table(candles)
    assert expected["ema_12"][0].as_py() == 101.5
    found = indicators_of(spark.createDataFrame(candles)).toArrow()
    assert found.column_names == expected.column_names
    assert found.sort_by([(name, "ascending") for name in KEY]).to_pylist() == expected.to_pylist()
