"""Contract §8 a second time, for the tests: candles over exact fractions, the rest with pandas."""

from __future__ import annotations

import math
from collections import defaultdict
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pandas as pd

SECONDS = {"1m": 60, "5m": 300}
#: Of a sum of volumes, and of Σ(high + low + close) · volume.
VOLUME_LIMIT, WEIGHTED_LIMIT = 10**20, 10**22
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
    # What no column holds is null: see `candles_of_table`.
    has_volume = bool(volumes) and total < VOLUME_LIMIT
    return {
        "open": rows[0]["open"],
        "high": max(row["high"] for row in rows),
        "low": min(row["low"] for row in rows),
        "close": rows[-1]["close"],
        "volume": as_decimal(total, 8) if has_volume else None,
        "vwap": as_decimal(weighted / total, 12) if has_volume and total and 3 * weighted < WEIGHTED_LIMIT else None,
        "event_count": len(rows),
        "source": rows[-1]["source"],
    }


def as_decimal(figure: Fraction, places: int) -> Decimal:
    """Rounded half up, exactly, however long."""
    steps = (figure * 10**places * 2 + 1) / 2
    return Decimal(f"{steps.numerator // steps.denominator}E-{places}")


def indicators(candles: pd.DataFrame) -> pd.DataFrame:
    """Indicators with pandas, of candles by key: symbol, interval, window_start, close, volume (floats), source."""
    return pd.concat(_indicators(group) for _, group in candles.groupby(["symbol", "interval"], sort=False))


def _indicators(candles: pd.DataFrame) -> pd.DataFrame:
    close, starts = candles["close"], candles["window_start"]
    near = starts.diff() <= 5 * pd.Timedelta(seconds=SECONDS[candles["interval"].iloc[0]])
    returns = np.log(close / close.shift()).where(near & (candles["source"] == candles["source"].shift()))
    middle = close.rolling(20).apply(_mean, raw=True)
    sigma = close.rolling(20).apply(lambda window: _deviation(window, 0), raw=True)
    spread = returns.dropna().rolling(20).apply(lambda window: _deviation(window, 1), raw=True)
    return candles[["symbol", "interval", "window_start"]].assign(
        log_return=returns,
        sma_20=middle,
        ema_12=close.ewm(span=12, adjust=False).mean(),
        ema_26=close.ewm(span=26, adjust=False).mean(),
        bollinger_upper=middle + 2 * sigma,
        bollinger_middle=middle,
        bollinger_lower=middle - 2 * sigma,
        volatility_20=spread.reindex(candles.index).ffill(),
    )


def anomalies(candles: pd.DataFrame) -> pd.DataFrame:
    """Anomalies with pandas, of candles by key with log_return and volume; in no special order."""
    found = []
    for _, group in candles.groupby(["symbol", "interval"], sort=False):
        for metric, values in (("price", group["log_return"]), ("volume", np.log1p(group["volume"]))):
            values = values.dropna()
            before = values.shift().rolling(60, min_periods=30)
            mean = before.apply(lambda window: _mean(window[~np.isnan(window)]), raw=True)
            stddev = before.apply(lambda window: _deviation(window[~np.isnan(window)], 1), raw=True)
            z_score = (values - mean) / stddev.where(stddev > 0)
            rows = group.loc[values.index, ["symbol", "interval", "window_start"]].assign(
                metric=metric, value=values, mean=mean, stddev=stddev, z_score=z_score
            )
            found.append(rows[z_score.abs() > 3])
    rows = pd.concat(found)
    rows["severity"] = pd.cut(rows["z_score"].abs(), [3, 4, 6, np.inf], labels=["warning", "high", "critical"])
    return rows


def _mean(window: Any) -> float:
    return math.fsum(window) / len(window)


def _deviation(window: Any, ddof: int) -> float:
    if window.min() == window.max():
        return 0.0
    mean = _mean(window)
    return math.sqrt(math.fsum((value - mean) ** 2 for value in window) / (len(window) - ddof))
