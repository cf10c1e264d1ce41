"""From a trade's due time until a reader's browser has painted it, or a newer one. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks.stream_parts.generator import PRICES, price
from benchmarks.stream_parts.schedule import Schedule, summary_ms, waits_us
from include.errors import MarketDataError


def waits(
    schedule: Schedule, names: Sequence[str], seen: Mapping[str, Sequence[tuple[int, int]]], settle_seconds: int
) -> dict[str, Any]:
    """Of every event of every symbol in the list of prices. Raises MarketDataError where one never came."""
    counted_from = schedule.start_us + settle_seconds * 1_000_000
    found = []
    for number, name in enumerate(names):
        due = schedule.of_symbol(number)
        one, unseen = waits_us(due[due >= counted_from], seen.get(name, ()))
        if unseen:
            raise MarketDataError(f"the page never showed {unseen} events of {name}")
        found.append(one)
    return summary_ms(np.concatenate(found))


def chart_waits(
    schedule: Schedule, symbol: int, drawn: Sequence[tuple[int, float]], settle_seconds: int
) -> dict[str, Any]:
    """Of every event of the symbol in the chart's last candle, `drawn` as (when, close)."""
    counted_from = schedule.start_us + settle_seconds * 1_000_000
    due = schedule.of_symbol(symbol)
    numbers = np.arange(symbol, schedule.count, schedule.symbols) % PRICES
    by_price = {round(price(number), 2): number for number in range(PRICES)}
    seen = []
    for at, close in drawn:
        places = np.flatnonzero((numbers == by_price.get(round(close, 2), -1)) & (due <= at))
        if len(places):
            seen.append((at, int(due[places[-1]])))
    # The newest candle closes with its last event; what is drawn once more tells nothing new.
    one, unseen = waits_us(due[(due >= counted_from) & (due <= max((newest for _, newest in seen), default=0))], seen)
    if unseen or not seen:
        raise MarketDataError("the chart never showed the events")
    return summary_ms(one)
