"""Three-sigma anomalies of price and volume: the one definition of contract §8. Pure."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from include.market.candle import KEY
from spark_jobs.transforms.series import FloatArray, Series, doubles, in_order

#: A value is held against so many before it, and against none where there are fewer than the least.
BASELINE, LEAST_BASELINE = 60, 30
THRESHOLD = 3.0
#: Up to and including this |z|; above the last it is critical.
_SEVERITIES = ((4.0, "warning"), (6.0, "high"))
_MOST_SEVERE = "critical"
MEASURES = ("value", "mean", "stddev", "z_score")
_SCHEMA = pa.schema(
    [
        ("symbol", pa.string()),
        ("interval", pa.string()),
        ("window_start", pa.timestamp("us", "UTC")),
        ("metric", pa.string()),
        *((name, pa.float64()) for name in MEASURES),
        ("severity", pa.string()),
    ]
)


def anomalies_of_table(candles_with_returns: pa.Table) -> pa.Table:
    """The anomalies among candles: key, `metric`, `value, mean, stddev, z_score` (doubles), `severity`.

    `candles_with_returns`: `symbol, interval, window_start, log_return, volume` in any order, each key once.
    `price` is judged by the log return, `volume` by ln(1 + volume): z = (value - mean) / stddev, with mean and sample
    deviation of the last BASELINE non-null ones before it. A null is not judged and not counted, a volume of 0 is.
    Where the deviation is 0 nothing is an anomaly.
    """
    ordered, before = in_order(candles_with_returns)
    keys = ordered.select(list(KEY))
    price = _judged(keys, "price", Series(doubles(ordered["log_return"]), before))
    volume = _judged(keys, "volume", Series(np.log1p(doubles(ordered["volume"])), before))
    return pa.concat_tables([price, volume])


def _judged(keys: pa.Table, metric: str, series: Series) -> pa.Table:
    present, places = series.present()
    baseline = present.moments(BASELINE, lag=1)
    stddev = baseline.deviation(ddof=1)
    known = (baseline.count >= LEAST_BASELINE) & (stddev > 0)
    z_score = np.full(len(places), np.nan)
    np.divide(present.values - baseline.mean, stddev, out=z_score, where=known)
    odd = np.abs(z_score) > THRESHOLD
    measures = (present.values, baseline.mean, stddev, z_score)
    columns = {
        **{name: keys[name].take(pa.array(places[odd])) for name in KEY},
        "metric": pa.repeat(metric, int(odd.sum())),
        **{name: measure[odd] for name, measure in zip(MEASURES, measures, strict=True)},
        "severity": _severities(z_score[odd]),
    }
    return pa.table(columns).cast(_SCHEMA)


def _severities(z_score: FloatArray) -> pa.Array:
    names = [name for _, name in _SEVERITIES] + [_MOST_SEVERE]
    bound = np.searchsorted([limit for limit, _ in _SEVERITIES], np.abs(z_score), side="left")
    return pa.array(np.array(names)[bound], pa.string())
