"""What the charts share."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from include.dashboard.charts.colours import Colours

_LEAST_SPAN = timedelta(minutes=30)


def still_frame(colours: Colours) -> dict[str, Any]:
    """The layout of a chart that is only looked at and pointed to."""
    return {
        "margin": {"l": 50, "r": 12, "t": 10, "b": 30},
        "paper_bgcolor": colours.background,
        "plot_bgcolor": colours.background,
        "font": {"color": colours.text, "size": 11, "family": "system-ui, sans-serif"},
        "dragmode": False,
        "hovermode": "closest",
        "showlegend": False,
    }


def axis_lines(colours: Colours) -> dict[str, Any]:
    return {"gridcolor": colours.grid, "linecolor": colours.grid, "zeroline": False}


def time_axis(colours: Colours, times: Sequence[datetime]) -> dict[str, Any]:
    """An axis over these moments, in order; few that lie close together are not spread over thousandths of a second."""
    axis = {"type": "date", "fixedrange": True, **axis_lines(colours)}
    if times and times[-1] - times[0] < _LEAST_SPAN:
        axis["range"] = [axis_time(times[0] - _LEAST_SPAN / 2), axis_time(times[-1] + _LEAST_SPAN / 2)]
    return axis


def axis_time(moment: datetime) -> str:
    """Plotly's date axis has no zone: the moment is UTC, written without saying so."""
    return moment.isoformat()[:19]
