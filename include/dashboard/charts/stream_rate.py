"""Rows a minute that the stream's batches took, over the last hour; a query is told by its line's dashes."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from include.dashboard.charts.colours import Colours
from include.dashboard.charts.frame import axis_lines, axis_time, still_frame
from include.storage.operations_rows import RowsOfMinute

_DASHES = ("solid", "dot", "dash", "dashdot")
_MINUTE = timedelta(minutes=1)


def stream_rate_figure(
    rows: Sequence[RowsOfMinute],
    now: datetime | None,
    span: timedelta,
    colours: Colours,
    empty: str = "No batch within the hour",
) -> dict[str, Any]:
    """`rows` oldest first. A minute without a batch is drawn as none; the one that is on is left out."""
    names = sorted({each.query_name for each in rows})
    traces = [] if now is None else [_line(name, place, rows, now, span, colours) for place, name in enumerate(names)]
    axis = {"type": "date", "fixedrange": True, "visible": bool(traces), **axis_lines(colours)}
    if now is not None:
        axis["range"] = [axis_time(now - span), axis_time(now)]
    return {
        "data": traces,
        "layout": {
            **still_frame(colours),
            "margin": {"l": 50, "r": 12, "t": 10, "b": 44},
            "hovermode": "x unified",
            "showlegend": True,
            "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom", "itemclick": False},
            "xaxis": axis,
            "yaxis": {"fixedrange": True, "rangemode": "tozero", "nticks": 5, **axis_lines(colours)},
            "annotations": [] if traces else [_said(empty, colours)],
        },
    }


def _line(
    name: str, place: int, rows: Sequence[RowsOfMinute], now: datetime, span: timedelta, colours: Colours
) -> dict[str, Any]:
    counted = {each.minute: each.rows_in for each in rows if each.query_name == name}
    last = now.replace(second=0, microsecond=0) - _MINUTE
    steps = int(span / _MINUTE)
    times = [last - _MINUTE * back for back in range(steps - 1, -1, -1)]
    return {
        "type": "scatter",
        "mode": "lines",
        "name": name,
        "x": [axis_time(each) for each in times],
        "y": [counted.get(each, 0) for each in times],
        "line": {
            "color": colours.lines[place % len(colours.lines)],
            "dash": _DASHES[place % len(_DASHES)],
            "width": 1.6,
            "shape": "hv",
        },
        "hovertemplate": "%{y:,} rows",
    }


def _said(text: str, colours: Colours) -> dict[str, Any]:
    place = {"xref": "paper", "yref": "paper", "x": 0.5, "y": 0.5, "showarrow": False}
    return {"text": text, "font": {"color": colours.text, "size": 13}, **place}
