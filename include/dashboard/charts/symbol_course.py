"""One symbol's freshness and completeness over time, below each other on one time axis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from include.dashboard.charts.colours import Colours
from include.dashboard.charts.frame import axis_lines, axis_time, still_frame, time_axis
from include.dashboard.charts.symbol_strips import measure_text
from include.storage.quality_rows import SeriesPoint

HEIGHT_PX = 294


def symbol_course_figure(points: Sequence[SeriesPoint], colours: Colours) -> dict[str, Any]:
    """`points` of one symbol, oldest first. Freshness in minutes of trading, completeness in per cent."""
    fresh = [each for each in points if each.dimension == "freshness"]
    complete = [each for each in points if each.dimension == "completeness"]
    least = min((each.measured for each in complete if each.measured is not None), default=1.0)
    return {
        "data": [
            *_course(fresh, [_scaled(each, 1 / 60) for each in fresh], "y", colours),
            *_course(complete, [_scaled(each, 100) for each in complete], "y2", colours),
        ],
        "layout": {
            **still_frame(colours),
            "height": HEIGHT_PX,
            "margin": {"l": 66, "r": 12, "t": 22, "b": 44},
            "xaxis": {**time_axis(colours, [each.at for each in points]), "anchor": "y2"},
            "yaxis": {
                "domain": [0.56, 1], "rangemode": "tozero", "ticksuffix": " min", "fixedrange": True, "nticks": 4,
                **axis_lines(colours),
            },
            "yaxis2": {
                "domain": [0, 0.42], "ticksuffix": " %", "fixedrange": True, "nticks": 4,
                "range": [100 * least - 1, 100.5], **axis_lines(colours),
            },
            "annotations": [
                _caption("Age of the newest event, in trading time", 1.0, colours),
                _caption("Expected minutes that are there", 0.42, colours),
            ],
        },
    }  # fmt: skip


def _course(
    points: Sequence[SeriesPoint], values: Sequence[float | None], axis: str, colours: Colours
) -> list[dict[str, Any]]:
    failed = [(each, value) for each, value in zip(points, values, strict=True) if not each.passed]
    return [
        {
            "type": "scatter",
            "mode": "lines",
            "yaxis": axis,
            "x": [axis_time(each.at) for each in points],
            "y": list(values),
            "text": [measure_text(each) for each in points],
            "line": {"color": colours.up, "width": 1.6},
            "hovertemplate": "%{x|%Y-%m-%d %H:%M} UTC<br>%{text}<extra></extra>",
        },
        {
            "type": "scatter",
            "mode": "markers",
            "name": "failed",
            "yaxis": axis,
            "x": [axis_time(each.at) for each, _ in failed],
            "y": [value for _, value in failed],
            "marker": {"symbol": "x", "size": 8, "color": colours.down},
            "hoverinfo": "skip",
        },
    ]


def _scaled(point: SeriesPoint, factor: float) -> float | None:
    return None if point.measured is None else round(point.measured * factor, 3)


def _caption(text: str, top: float, colours: Colours) -> dict[str, Any]:
    return {
        "text": text, "xref": "paper", "yref": "paper", "x": 0, "y": top, "xanchor": "left", "yanchor": "bottom",
        "showarrow": False, "font": {"color": colours.text, "size": 11},
    }  # fmt: skip
