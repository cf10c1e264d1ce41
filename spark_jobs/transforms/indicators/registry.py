"""The indicators that are computed and stored. A new one is one line here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from spark_jobs.transforms.anomalies import BASELINE
from spark_jobs.transforms.indicators.bollinger import bollinger
from spark_jobs.transforms.indicators.ema import ema
from spark_jobs.transforms.indicators.indicator import Indicator
from spark_jobs.transforms.indicators.sma import sma
from spark_jobs.transforms.indicators.volatility import volatility

INDICATORS: tuple[Indicator, ...] = (
    sma(20),
    ema(12),
    ema(26),
    bollinger(20, width=2),
    volatility(20),
)


class Lookback(NamedTuple):
    """How many of the last non-null closes, returns and volumes the figures of a candle come from, itself among them.

    Whoever computes a part of a history gives these of the candle before the first one wanted, and one candle
    more in front: a return needs the close before it.
    """

    closes: int
    returns: int
    volumes: int


def lookback(indicators: Sequence[Indicator]) -> Lookback:
    """What these indicators and the anomalies need."""
    return Lookback(
        closes=max(indicator.closes for indicator in indicators),
        returns=max(BASELINE, *(indicator.returns for indicator in indicators)),
        volumes=max(BASELINE, *(indicator.volumes for indicator in indicators)),
    )


LOOKBACK = lookback(INDICATORS)
#: Columns whose figure at the first candle given must come along, as `seed_<column>`.
SEEDED: tuple[str, ...] = tuple(name for indicator in INDICATORS if indicator.seeded for name in indicator.columns)
