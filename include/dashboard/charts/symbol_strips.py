"""Freshness and completeness of every symbol over time: a strip each, a cross where the check failed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

from include.dashboard.charts.colours import Colours, faded
from include.dashboard.charts.frame import axis_lines, axis_time, still_frame, time_axis
from include.quality.measures import span
from include.storage.quality_rows import SeriesPoint

ROW_PX = 26
_AROUND_PX = 52
#: Above these a cell that passed has its full colour.
_FULL_AGE_SECONDS = 300.0
_FULL_MISSING = 0.05
_FAILED = 2.0
#: The width of a cell that has no neighbour, as of a run every 10 minutes.
_ALONE = timedelta(minutes=10)


def strip_height(symbols: Sequence[str]) -> int:
    """Pixels of a strip figure."""
    return _AROUND_PX + ROW_PX * max(1, len(symbols))


def strips_figure(
    points: Sequence[SeriesPoint], dimension: str, symbols: Sequence[str], colours: Colours
) -> dict[str, Any]:
    """One row a symbol, first on top; nothing where nothing was measured. Times on the axis are UTC."""
    cells = {(each.symbol, each.at): each for each in points if each.dimension == dimension}
    times = sorted({at for _, at in cells})
    edges = _edges(times)
    rows = [[cells.get((symbol, at)) for at in times] for symbol in symbols]
    failed = [each for row in rows for each in row if each and not each.passed]
    return {
        "data": [
            {
                "type": "heatmap",
                # A single column has no width but by its edges.
                "x": edges if len(times) == 1 else [axis_time(at) for at in times],
                "y": list(symbols),
                "z": [[_shade(each) for each in row] for row in rows],
                "text": [[_words(each) for each in row] for row in rows],
                "hovertemplate": "%{text}<extra></extra>",
                "hoverongaps": False,
                "zmin": 0,
                "zmax": _FAILED,
                "colorscale": [
                    [0, faded(colours.up, 0.22)],
                    [0.5, faded(colours.up, 0.85)],
                    [0.501, colours.down],
                    [1, colours.down],
                ],
                "showscale": False,
                "xgap": 1,
                "ygap": 4,
            },
            {
                "type": "scatter",
                "mode": "markers",
                "name": "failed",
                "x": [axis_time(each.at) for each in failed],
                "y": [each.symbol for each in failed],
                "marker": {
                    "symbol": "x-thin",
                    "size": 6,
                    "line": {"width": 1.5, "color": colours.label_text},
                },
                "hoverinfo": "skip",
                "showlegend": False,
            },
        ],
        "layout": {
            **still_frame(colours),
            "height": strip_height(symbols),
            "margin": {"l": 76, "r": 10, "t": 6, "b": 44},
            "xaxis": {**time_axis(colours, ()), **({"range": edges} if edges else {}), "showgrid": False},
            "yaxis": {
                "type": "category",
                "fixedrange": True,
                "categoryarray": list(reversed(symbols)),
                "categoryorder": "array",
                **axis_lines(colours),
                "showgrid": False,
                "ticks": "",
            },
        },
    }


def measure_text(point: SeriesPoint) -> str:
    """What was measured, for a person."""
    if point.measured is None:
        return "not measured"
    if point.dimension == "freshness":
        return f"{span(point.measured)} of trading since the last event"
    return f"{100 * point.measured:.1f} % of the expected minutes"


def _edges(times: Sequence[datetime]) -> list[str]:
    """From the first cell's edge to the last one's: the crosses would make it wider. Empty without a cell."""
    if not times:
        return []
    half = min((after - before for before, after in pairwise(times)), default=_ALONE) / 2
    return [axis_time(times[0] - half), axis_time(times[-1] + half)]


def _shade(point: SeriesPoint | None) -> float | None:
    if point is None:
        return None
    if not point.passed:
        return _FAILED
    if point.measured is None:
        return 0.0
    full = (
        point.measured / _FULL_AGE_SECONDS if point.dimension == "freshness" else (1 - point.measured) / _FULL_MISSING
    )
    return round(min(max(full, 0.0), 1.0), 3)


def _words(point: SeriesPoint | None) -> str:
    if point is None:
        return ""
    state = "passed" if point.passed else "failed"
    return f"{point.symbol} · {point.at:%Y-%m-%d %H:%M} UTC · {state}<br>{measure_text(point)}"
