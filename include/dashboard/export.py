"""The chart as a table: exact figures, as they are stored."""

from __future__ import annotations

import csv
import io
from dataclasses import fields

from include.dashboard.market_view import ChartData
from include.market.event import plain
from include.storage.chart_reads import IndicatorPoint

_FIGURES = ("open", "high", "low", "close", "volume", "vwap")
_INDICATORS = tuple(field.name for field in fields(IndicatorPoint))[1:]


def chart_csv(data: ChartData) -> str:
    """One line a candle, oldest first; window_start in ISO 8601 UTC, what is not known is empty."""
    held = {each.window_start: each for each in data.marks.indicators}
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["window_start", *_FIGURES, "event_count", "source", "is_final", *_INDICATORS])
    for candle in data.candles:
        figures = [getattr(candle, name) for name in _FIGURES]
        point = held.get(candle.window_start)
        writer.writerow(
            [
                f"{candle.window_start:%Y-%m-%dT%H:%M:%SZ}",
                *("" if figure is None else plain(figure) for figure in figures),
                candle.event_count,
                candle.source,
                str(candle.is_final).lower(),
                *("" if point is None else _text(getattr(point, name)) for name in _INDICATORS),
            ]
        )
    return text.getvalue()


def _text(value: float | None) -> str:
    return "" if value is None else repr(value)
