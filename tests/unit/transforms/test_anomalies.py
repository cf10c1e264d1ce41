from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from pyspark.sql import SparkSession

from spark_jobs.transforms.anomalies import anomalies_of_table
from spark_jobs.transforms.dataframes import anomalies_of
from spark_jobs.transforms.indicators import LOOKBACK, SEEDED, indicators_of_table
from tests.unit.transforms import reference
from tests.unit.transforms.candle_series import MadeUp, cut, made_up, recorded, table

KEY = ["symbol", "interval", "window_start"]
ORDER = [(name, "ascending") for name in (*KEY, "metric")]
#: 37 returns with mean 0 and sample deviation 0.5, both without any rounding.
BASELINE = [0.5, -0.5] * 18 + [0.0]


def with_returns(candles: pa.Table) -> pa.Table:
    """Both sorted by key, as the caller of both transforms has them."""
    ordered = candles.sort_by([(name, "ascending") for name in KEY])
    return ordered.append_column("log_return", indicators_of_table(candles)["log_return"])


Figures = Sequence[float | str | None]


def judged(returns: Sequence[float | None], volumes: Figures | None = None) -> list[dict[str, object]]:
    candles = table([1] * len(returns), volumes=volumes or [None] * len(returns))
    found = anomalies_of_table(candles.append_column("log_return", pa.array(returns, pa.float64())))
    rows: list[dict[str, object]] = found.to_pylist()
    return rows


def assert_as_reference(candles: pa.Table) -> int:
    rows = with_returns(candles)
    given_rows = rows.to_pandas()
    given_rows["volume"] = given_rows["volume"].astype(float)
    expected = reference.anomalies(given_rows).sort_values([*KEY, "metric"], ignore_index=True)
    expected["severity"] = expected["severity"].astype(object)
    found = anomalies_of_table(rows).sort_by(ORDER).to_pandas()
    pd.testing.assert_frame_equal(found, expected, check_exact=False, check_dtype=False, rtol=1e-9, atol=1e-18)
    return len(expected)


@pytest.mark.parametrize(
    ("value", "severity"),
    [
        (1.5, None),
        (math.nextafter(1.5, 2), "warning"),
        (-2.0, "warning"),
        (math.nextafter(2.0, 3), "high"),
        (3.0, "high"),
        (-math.nextafter(3.0, 4), "critical"),
    ],
)
def test_severities(value: float, severity: str | None) -> None:
    found = judged([*BASELINE, value])
    if severity is None:
        assert found == []
    else:
        (row,) = found
        assert (row["metric"], row["severity"]) == ("price", severity)
        assert (row["value"], row["mean"], row["stddev"], row["z_score"]) == (value, 0, 0.5, value / 0.5)


@pytest.mark.parametrize(("before", "found"), [(29, 0), (30, 1)])
def test_thirty_returns_are_needed(before: int, found: int) -> None:
    assert len(judged([*BASELINE[-before:], 9.0])) == found


def test_nulls_are_neither_judged_nor_counted() -> None:
    """Thirty returns among as many nulls are a baseline; twenty-nine are not."""
    spaced = [value for pair in zip(BASELINE[-30:], [None] * 30, strict=True) for value in pair]
    assert len(judged([*spaced, 9.0])) == 1
    assert judged([None, *spaced[1:], 9.0]) == []


def test_only_the_last_sixty_count() -> None:
    wild, calm = [1000.0, -1000.0], [0.25, -0.25] * 30
    assert len(judged([*wild, *calm, 2.0])) == 1
    assert judged([*wild, *calm[1:], 2.0]) == []


def test_nothing_stands_out_of_a_deviation_of_zero() -> None:
    """0.1 has no exact double: its sum over sixty divided by sixty is another number."""
    assert judged([0.1] * 60 + [9.0]) == []
    assert judged([None] * 61, [0.1] * 60 + [9e9]) == []


def test_volume() -> None:
    """Judged by ln(1 + volume); nulls are not counted, a volume of 0 is."""
    even = [None, math.e**2 - 1, 0.0] * 20
    (row,) = judged([None] * 61, [*even, math.e**9 - 1])
    assert (row["metric"], row["severity"]) == ("volume", "critical")
    assert [row["value"], row["mean"]] == pytest.approx([9, 1], rel=1e-7)
    assert row["stddev"] == pytest.approx(math.sqrt(40 / 39), rel=1e-7)
    assert judged([None] * 44, [*even[2:45], math.e**9 - 1]) == []  # twenty-nine before it


def test_the_largest_volume_is_a_number_like_any() -> None:
    (row,) = judged([None] * 41, [1, 2] * 20 + ["99999999999999999999"])
    assert math.isfinite(float(str(row["z_score"])))
    assert row["severity"] == "critical"


def test_no_candles() -> None:
    assert judged([]) == []


def test_equals_pandas_on_recorded_days(shared_data: Path) -> None:
    assert assert_as_reference(recorded(shared_data)) > 100


@settings(max_examples=40, deadline=None)
@given(made_up())
def test_equals_pandas_on_made_up_series(series: MadeUp) -> None:
    assert_as_reference(series.table())


def test_context_gives_the_bits_of_the_whole_history() -> None:
    """For each place of some series: the anomalies of that candle and the next are those of all of it."""
    counted = 0
    calm = MadeUp(0, 260, "1m", 0.05, 0.0, 0.1, 0.0, 0.03, 10_000)
    broken = MadeUp(0, 260, "5m", 0.05, 0.3, 0.1, 0.1, 0.03, 70)
    for series in [replace(shape, seed=seed) for seed in range(3) for shape in (calm, broken)]:
        history = series.table()
        computed = indicators_of_table(history)
        whole = anomalies_of_table(with_returns(history)).drop_columns("symbol").to_pylist()
        counted += len(whole)
        parts = pa.concat_tables(cut(history, computed, LOOKBACK, SEEDED))
        found = anomalies_of_table(with_returns(parts))
        starts = history["window_start"].to_pylist()
        for place in range(history.num_rows):
            wanted = starts[place : place + 3]
            part = found.filter(pc.equal(found["symbol"], f"cut {place}")).drop_columns("symbol").to_pylist()
            assert [row for row in part if row["window_start"] in wanted] == [
                row for row in whole if row["window_start"] in wanted
            ]
    assert counted > 20


def test_the_frames_rows_are_the_tables(spark: SparkSession) -> None:
    rows = pa.concat_tables(
        with_returns(MadeUp(seed, 200, "1m", 0.05, 0.05, 0.1, 0.0, 0.03, 10_000).table(f"S{seed}")) for seed in range(6)
    )
    expected = anomalies_of_table(rows)
    assert len(np.unique(expected["symbol"].to_numpy())) > 1
    found = anomalies_of(spark.createDataFrame(rows)).toArrow()
    assert found.schema.names == expected.schema.names
    assert found.sort_by(ORDER).to_pylist() == expected.sort_by(ORDER).to_pylist()
