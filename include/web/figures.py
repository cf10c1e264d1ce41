"""Indicators and anomalies of candles that are not stored, by the arithmetic that the stream calls."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import pyarrow as pa

from include.market.candle import Candle
from include.storage.anomaly_reads import Anomaly
from include.storage.chart_reads import IndicatorPoint
from spark_jobs.transforms.anomalies import anomalies_of_table
from spark_jobs.transforms.indicators import indicators_of_table

_POINT = [field.name for field in fields(IndicatorPoint)]
_TIME = pa.timestamp("us", "UTC")


def figures(candles: Sequence[Candle]) -> tuple[list[IndicatorPoint], list[Anomaly]]:
    """Of one symbol's candles of one length, oldest first: a point each, and what is odd among the final ones.

    As in the tables for those that are stored (contract §8), the first candle given being the first there is.
    """
    table = _table(candles)
    found = indicators_of_table(table)
    points = [IndicatorPoint(**row) for row in found.select(_POINT).to_pylist()]
    judged = found.select(["symbol", "interval", "window_start", "log_return"])
    held = {candle.window_start: candle for candle in candles if candle.is_final}
    anomalies = [
        Anomaly(**row, detected_at=held[row["window_start"]].updated_at)
        for row in anomalies_of_table(judged.append_column("volume", table["volume"])).to_pylist()
        if row["window_start"] in held
    ]
    return points, sorted(anomalies, key=lambda each: (each.window_start, each.metric))


def _table(candles: Sequence[Candle]) -> pa.Table:
    columns: dict[str, Any] = {
        "symbol": pa.array([each.symbol for each in candles], pa.string()),
        "interval": pa.array([each.interval for each in candles], pa.string()),
        "window_start": pa.array([each.window_start for each in candles], _TIME),
        "close": pa.array([float(each.close) for each in candles], pa.float64()),
        "volume": pa.array([None if each.volume is None else float(each.volume) for each in candles], pa.float64()),
        "source": pa.array([each.source for each in candles], pa.string()),
    }
    return pa.table(columns)
