"""What the tables must hold after some deliveries, by the contract alone: nothing here is the product's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from tests.integration.deliveries import DELAY_US, SECOND, Delivery
from tests.unit.transforms import reference

Row = dict[str, Any]
INDICATORS = (
    "log_return", "sma_20", "ema_12", "ema_26", "bollinger_upper", "bollinger_middle", "bollinger_lower",
    "volatility_20",
)  # fmt: skip
CANDLE_COLUMNS = ("open", "high", "low", "close", "volume", "vwap", "event_count", "source", "is_final")
MEASURES = ("value", "mean", "stddev", "z_score")
#: symbol, interval, window start in microseconds.
Key = tuple[str, str, int]


@dataclass
class Truth:
    """The rows of one query, told batch by batch what arrives. Late is what the batches before had left behind."""

    stored: dict[tuple[str, int], Row] = field(default_factory=dict)
    dead: set[tuple[int, int]] = field(default_factory=set)
    late: set[tuple[int, int]] = field(default_factory=set)
    newest: int | None = None

    def batch(self, deliveries: Sequence[Delivery]) -> None:
        watermark = None if self.newest is None else self.newest - DELAY_US
        for delivery in sorted(deliveries, key=lambda delivery: (delivery.partition, delivery.offset)):
            place = (delivery.partition, delivery.offset)
            if delivery.is_future:
                self.dead.add(place)
                continue
            event = delivery.event
            self.newest = event.event_time if self.newest is None else max(self.newest, event.event_time)
            if (event.event_id, 0) not in self.stored:
                self.stored[event.event_id, 0] = delivery.row
                if watermark is not None and event.event_time < watermark:
                    self.late.add(place)

    def backfilled(self, rows: Sequence[Row]) -> None:
        """Rows that came by another door: no offset, any revision."""
        for row in rows:
            self.stored.setdefault((row["event_id"], row["revision"]), row)

    def candles(self) -> dict[Key, tuple[Any, ...]]:
        """By key, CANDLE_COLUMNS."""
        rows = list(self.stored.values())
        found = {
            (symbol, interval, start): candle
            for interval in reference.SECONDS
            for (symbol, start), candle in reference.candles(rows, interval).items()
        }
        return {
            key: (*(candle[name] for name in CANDLE_COLUMNS[:-1]), self.is_final(*key[1:]))
            for key, candle in found.items()
        }

    def is_final(self, interval: str, start: int) -> bool:
        """Once the watermark has passed the window's end."""
        end = start + reference.SECONDS[interval] * SECOND
        return self.newest is not None and end <= self.newest - DELAY_US


def figures_of(candles: dict[Key, tuple[Any, ...]]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Indicators and anomalies of these candles, with pandas; both sorted by key."""
    columns = ["symbol", "interval", "window_start"]
    rows = [
        (symbol, interval, pd.Timestamp(start, unit="us", tz="UTC"), float(candle[3]), _float(candle[4]), candle[7])
        for (symbol, interval, start), candle in sorted(candles.items())
    ]
    frame = pd.DataFrame(rows, columns=[*columns, "close", "volume", "source"]).astype({"volume": float})
    indicators = reference.indicators(frame)
    anomalies = reference.anomalies(frame.merge(indicators[[*columns, "log_return"]], on=columns))
    return indicators.sort_values(columns), anomalies.sort_values([*columns, "metric"])


def assert_figures_equal(
    candles: dict[Key, tuple[Any, ...]], indicators: Sequence[tuple[Any, ...]], anomalies: Sequence[tuple[Any, ...]]
) -> None:
    """Indicators within 1e-9, anomalies with their severity: rows of the tables against pandas over `candles`.

    `indicators`: key and INDICATORS; `anomalies`: key, metric, MEASURES and severity; both sorted by key.
    """
    if not candles:
        assert not indicators
        assert not anomalies
        return
    wanted, odd = figures_of(candles)
    assert [row[:3] for row in indicators] == _keys(wanted)
    closes = np.array([float(candles[row[:3]][3]) for row in indicators])
    for place, name in enumerate(INDICATORS, start=3):
        # A lower band near zero is a difference of large numbers: it is exact to the last bits of those.
        slack = 1e-14 * closes if name == "bollinger_lower" else 0
        _assert_close([row[place] for row in indicators], wanted[name], name, slack)
    assert [row[:4] for row in anomalies] == [
        (*key, metric) for key, metric in zip(_keys(odd), odd["metric"], strict=True)
    ]
    assert [row[-1] for row in anomalies] == list(odd["severity"])
    for place, name in enumerate(MEASURES, start=4):
        # A mean of returns may be nothing but rounding: it matters as far as the deviation goes.
        slack = 1e-9 * odd["stddev"].to_numpy(float) if name == "mean" else 0
        _assert_close([row[place] for row in anomalies], odd[name], name, slack)


def _assert_close(found: Sequence[float | None], wanted: pd.Series[float], name: str, slack: Any) -> None:
    got, right = np.array(found, dtype=float), wanted.to_numpy(float)
    assert (np.isnan(got) == np.isnan(right)).all(), f"{name}: null where it is not, or the other way round"
    apart = np.abs(got - right) > 1e-9 * np.abs(right) + slack
    assert not apart.any(), f"{name}: {got[apart][:3]} instead of {right[apart][:3]}"


def _keys(frame: pd.DataFrame) -> list[Key]:
    starts = frame["window_start"].astype("datetime64[us, UTC]").astype("int64")
    return list(zip(frame["symbol"], frame["interval"], starts, strict=True))


def _float(figure: Any) -> float:
    return float("nan") if figure is None else float(figure)
