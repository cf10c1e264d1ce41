"""Coarser timeframes from stored candles: exact, and pure. One definition for page and API."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Literal, cast, get_args

from include.market.candle import Candle, Interval

#: What can be asked for; all but the stored 1m and 5m are rolled up from 5m.
Timeframe = Literal["1m", "5m", "15m", "1h", "1d"]
TIMEFRAMES: tuple[Timeframe, ...] = get_args(Timeframe)
TIMEFRAME_SECONDS: dict[Timeframe, int] = {"1m": 60, "5m": 300, "15m": 900, "1h": 3600, "1d": 86_400}
BASE: dict[Timeframe, Interval] = {"1m": "1m", "5m": "5m", "15m": "5m", "1h": "5m", "1d": "5m"}


def is_stored(timeframe: Timeframe) -> bool:
    """Whether its candles, and so their indicators and anomalies, stand in the tables."""
    return BASE[timeframe] == timeframe


def rolled_up(candles: Sequence[Candle], timeframe: Timeframe) -> list[Candle]:
    """Shorter candles of one symbol, oldest first, as windows of `timeframe` aligned to UTC.

    Volumes add up exactly (None if all are), vwap is weighted by volume. A window is final when its parts
    are and nothing of it is still to come: its last part, or a later window, is there.
    """
    seconds = TIMEFRAME_SECONDS[timeframe]
    grouped: dict[int, list[Candle]] = {}
    for candle in candles:
        epoch = int(candle.window_start.timestamp())
        grouped.setdefault(epoch - epoch % seconds, []).append(candle)
    newest = max(grouped, default=0)
    return [_window(start, parts, timeframe, start < newest) for start, parts in grouped.items()]


def _window(start: int, parts: Sequence[Candle], timeframe: Timeframe, superseded: bool) -> Candle:
    last = parts[-1]
    opened = datetime.fromtimestamp(start, UTC)
    part_seconds = TIMEFRAME_SECONDS[last.interval]
    end = opened + timedelta(seconds=TIMEFRAME_SECONDS[timeframe])
    complete = superseded or last.window_start + timedelta(seconds=part_seconds) >= end
    volumes = [part.volume for part in parts if part.volume is not None]
    weighted = [(part.vwap, part.volume) for part in parts if part.vwap is not None and part.volume]
    return Candle(
        symbol=last.symbol,
        # The row type knows the stored intervals only; a rolled-up window carries its own name.
        interval=cast("Interval", timeframe),
        window_start=opened,
        open=parts[0].open,
        high=max(part.high for part in parts),
        low=min(part.low for part in parts),
        close=last.close,
        volume=sum(volumes, Decimal(0)) if volumes else None,
        vwap=_vwap(weighted) if weighted else None,
        event_count=sum(part.event_count for part in parts),
        source=last.source,
        is_final=complete and all(part.is_final for part in parts),
        updated_at=max(part.updated_at for part in parts),
    )


def _vwap(weighted: Sequence[tuple[Decimal, Decimal]]) -> Decimal:
    total = sum((vwap * volume for vwap, volume in weighted), Decimal(0))
    return round(total / sum((volume for _, volume in weighted), Decimal(0)), 12)
