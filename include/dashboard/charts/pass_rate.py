"""The pass rate of the runs over time; what failed is told by the marks' shape."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from include.dashboard.charts.colours import Colours
from include.dashboard.charts.frame import axis_lines, axis_time, still_frame, time_axis
from include.storage.quality_rows import RatePoint

_LEAST_SHOWN = 98.0
_STATES = (("passed", "circle", 5), ("warning", "triangle-up", 9), ("critical", "x", 9))


def pass_rate_figure(
    points: Sequence[RatePoint], chosen: str | None, colours: Colours, empty: str = "No run in this span"
) -> dict[str, Any]:
    """`points` oldest first; the run `chosen` is ringed. Times on the axis are UTC, rates in per cent."""
    line = {
        "type": "scatter",
        "mode": "lines",
        "name": "pass rate",
        "x": [axis_time(each.started_at) for each in points],
        "y": [_percent(each) for each in points],
        "line": {"color": colours.spike, "width": 1, "shape": "hv"},
        "hoverinfo": "skip",
        "showlegend": False,
    }
    lowest = min((_percent(each) for each in points), default=100.0)
    # A single failing check is seen, and a clean day is no zoom into nothing.
    pad = 0.12 * (100 - min(lowest, _LEAST_SHOWN))
    return {
        "data": [line, *(_marks(points, *state, colours) for state in _STATES), _ring(points, chosen, colours)],
        "layout": {
            **still_frame(colours),
            "margin": {"l": 50, "r": 12, "t": 10, "b": 44},
            "showlegend": True,
            "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom", "itemclick": False},
            "xaxis": {**time_axis(colours, [each.started_at for each in points]), "visible": bool(points)},
            "annotations": [] if points else [_said(empty, colours)],
            "yaxis": {
                "fixedrange": True,
                "ticksuffix": " %",
                "range": [min(lowest, _LEAST_SHOWN) - pad, 100 + pad],
                "nticks": 5,
                **axis_lines(colours),
            },
        },
    }


def _said(text: str, colours: Colours) -> dict[str, Any]:
    place = {"xref": "paper", "yref": "paper", "x": 0.5, "y": 0.5, "showarrow": False}
    return {"text": text, "font": {"color": colours.text, "size": 13}, **place}


def _marks(points: Sequence[RatePoint], state: str, symbol: str, size: int, colours: Colours) -> dict[str, Any]:
    shown = [each for each in points if _state(each) == state]
    colour = {"passed": colours.up, "warning": colours.down, "critical": colours.down}[state]
    return {
        "type": "scatter",
        "mode": "markers",
        "name": {"passed": "all passed", "warning": "warnings", "critical": "critical checks failed"}[state],
        "x": [axis_time(each.started_at) for each in shown],
        "y": [_percent(each) for each in shown],
        "customdata": [each.run_id for each in shown],
        "text": [_words(each) for each in shown],
        "marker": {"symbol": symbol, "size": size, "color": colour, "line": {"width": 0}},
        "hovertemplate": "%{text}<extra></extra>",
    }


def _ring(points: Sequence[RatePoint], chosen: str | None, colours: Colours) -> dict[str, Any]:
    shown = [each for each in points if each.run_id == chosen]
    return {
        "type": "scatter",
        "mode": "markers",
        "name": "chosen",
        "x": [axis_time(each.started_at) for each in shown],
        "y": [_percent(each) for each in shown],
        "marker": {"symbol": "circle-open", "size": 17, "color": colours.text, "line": {"width": 2}},
        "hoverinfo": "skip",
        "showlegend": False,
    }


def _state(point: RatePoint) -> str:
    return "critical" if point.failed_critical else "warning" if point.failed_warning else "passed"


def _percent(point: RatePoint) -> float:
    return round(100 * point.pass_rate, 2)


def _words(point: RatePoint) -> str:
    failed = f"{point.failed_critical} critical, {point.failed_warning} warnings"
    return f"{point.started_at:%Y-%m-%d %H:%M} UTC<br>{_percent(point):.1f} % passed<br>{failed}<br>click for this run"
