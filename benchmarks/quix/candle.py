"""A candle as Quix Streams folds it, trade by trade. Standard library only.

Prices and volumes are whole numbers of 1e-4, which the benchmark's trades allow: Quix keeps its state as JSON, where
whole numbers of 64 bits are exact and quick, and decimals are neither.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

SCALE, PLACES = 10_000, 4
#: VWAP is rounded half up to so many decimals, as the pipeline does it.
VWAP_PLACES = 12

#: [first time, open, high, low, last time, close, volume, Σ price·volume, count]; times in epoch microseconds
Folded = list[int]


def opened(trade: dict[str, Any]) -> Folded:
    """The candle of one trade."""
    time, price = trade["event_time"], round(float(trade["close"]) * SCALE)
    volume = round(float(trade["volume"]) * SCALE)
    return [time, price, price, price, time, price, volume, price * volume, 1]


def folded(candle: Folded, trade: dict[str, Any]) -> Folded:
    """The candle with one trade more. Trades of one moment come in Kafka's order, so the later one closes."""
    time, price = trade["event_time"], round(float(trade["close"]) * SCALE)
    volume = round(float(trade["volume"]) * SCALE)
    if time < candle[0]:
        candle[0], candle[1] = time, price
    if price > candle[2]:
        candle[2] = price
    if price < candle[3]:
        candle[3] = price
    if time >= candle[4]:
        candle[4], candle[5] = time, price
    candle[6] += volume
    candle[7] += price * volume
    candle[8] += 1
    return candle


def merged(longer: Folded, shorter: Folded) -> Folded:
    """A longer window with a whole shorter one more, later in time than those before."""
    if shorter[0] < longer[0]:
        longer[:2] = shorter[:2]
    longer[2], longer[3] = max(longer[2], shorter[2]), min(longer[3], shorter[3])
    if shorter[4] >= longer[4]:
        longer[4:6] = shorter[4:6]
    for place in (6, 7, 8):
        longer[place] += shorter[place]
    return longer


def line(symbol: str, interval: str, start_ms: int, candle: Folded) -> list[Any]:
    """`[symbol, interval, start in epoch seconds, open, high, low, close, volume, vwap, count]`, figures as text."""
    _, opening, high, low, _, close, volume, weighted, count = candle
    # 1e-8 over 1e-4 leaves 1e-4; the rest of the places come by whole numbers, doubled for the rounding.
    numerator = weighted * 10 ** (VWAP_PLACES - PLACES)
    vwap = Decimal((2 * numerator + volume) // (2 * volume)).scaleb(-VWAP_PLACES)
    figures = [str(Decimal(value).scaleb(-PLACES)) for value in (opening, high, low, close, volume)]
    return [symbol, interval, start_ms // 1_000, *figures, str(vwap), str(count)]
