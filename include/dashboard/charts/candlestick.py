"""The main chart: candles above their volume with what is laid over them; whole, or only its end."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from include.dashboard.charts.axes import FINAL, PROVISIONAL, chart_layout, volume_shades
from include.dashboard.charts.colours import Colours
from include.dashboard.charts.frame import axis_time
from include.dashboard.charts.overlays import LAYER_TRACES, Drawn, marked
from include.dashboard.formatting import price_text, volume_text
from include.dashboard.selection import Selection
from include.market.candle import Candle
from include.storage.chart_reads import Marks

_PROVISIONAL_OPACITY = 0.45
#: What of a trace belongs to its points; everything else is how it looks.
_BY_POINT = ("x", "y", "open", "high", "low", "close", "customdata", "text")
_NO_MARKS = Marks()


def candlestick_figure(
    candles: Sequence[Candle], selection: Selection, colours: Colours, marks: Marks = _NO_MARKS
) -> dict[str, Any]:
    """`candles` oldest first; one not yet final is drawn lighter, one that rose hollow. Times on the axis are UTC."""
    drawn = Drawn(candles, marks, colours)
    traces = _traces(drawn, selection)
    return {
        "data": traces,
        "layout": {
            **chart_layout(candles, traces, marks.closures, selection, colours),
            **_last_price(candles, colours, marked(drawn) if "gaps" in selection.layers else []),
        },
    }


def figure_end(
    candles: Sequence[Candle], selection: Selection, colours: Colours, marks: Marks = _NO_MARKS
) -> dict[str, Any] | None:
    """The points from the first of these candles on, which take the place of all that a figure has from there.

    `from` is their first moment on the axis, `traces` each trace's columns by its name, `last` the price line.
    """
    if not candles:
        return None
    traces = _traces(Drawn(candles, marks, colours), selection)
    last = candles[-1]
    return {
        "from": axis_time(candles[0].window_start),
        "traces": {trace["name"]: _points(trace) for trace in traces},
        "last": {"y": float(last.close), "text": price_text(last.close), "isUp": last.close >= last.open},
    }


def _points(trace: dict[str, Any]) -> dict[str, Any]:
    columns = {name: trace[name] for name in _BY_POINT if name in trace}
    # Of a marker, colours are how it looks: the browser gives new points theirs, in its own scheme.
    looks = trace.get("marker", {}).items()
    of_markers = {f"marker.{name}": each for name, each in looks if isinstance(each, list) and name != "color"}
    return columns | of_markers


def _traces(drawn: Drawn, selection: Selection) -> list[dict[str, Any]]:
    final = [candle for candle in drawn.candles if candle.is_final]
    provisional = [candle for candle in drawn.candles if not candle.is_final]
    layers = [trace for layer in selection.layers for trace in LAYER_TRACES[layer](drawn)]
    return [
        _candles(final, "final", drawn.colours, 1.0),
        _candles(provisional, "provisional", drawn.colours, _PROVISIONAL_OPACITY),
        _volume(drawn.candles, drawn.colours),
        *layers,
    ]


def _candles(candles: Sequence[Candle], name: str, colours: Colours, opacity: float) -> dict[str, Any]:
    return {
        "type": "candlestick",
        "name": name,
        "x": [axis_time(candle.window_start) for candle in candles],
        "open": [float(candle.open) for candle in candles],
        "high": [float(candle.high) for candle in candles],
        "low": [float(candle.low) for candle in candles],
        "close": [float(candle.close) for candle in candles],
        # Told by shape too: what rose is hollow, what fell is filled.
        "increasing": {"line": {"color": colours.up, "width": 1.2}, "fillcolor": colours.background},
        "decreasing": {"line": {"color": colours.down, "width": 1.2}, "fillcolor": colours.down},
        "opacity": opacity,
        "whiskerwidth": 0,
        # The legend above the chart says it: no box over the candles.
        "hoverinfo": "none",
    }


def _volume(candles: Sequence[Candle], colours: Colours) -> dict[str, Any]:
    """Its points carry what the legend shows, and by that have their colours: see `volume_shades`."""
    shades = volume_shades(colours)
    legends = [_legend(candle) for candle in candles]
    return {
        "type": "bar",
        "name": "volume",
        "yaxis": "y2",
        "x": [axis_time(candle.window_start) for candle in candles],
        "y": [None if candle.volume is None else float(candle.volume) for candle in candles],
        "customdata": legends,
        "marker": {"color": [shades[direction][state] for *_, direction, _, state in legends], "line": {"width": 0}},
        "hoverinfo": "none",
    }


def _legend(candle: Candle) -> list[str]:
    """Open, high, low, close, volume, time, direction, source, state: what the legend shows for the candle."""
    prices = [price_text(price) for price in (candle.open, candle.high, candle.low, candle.close)]
    direction = "up" if candle.close >= candle.open else "down"
    state = FINAL if candle.is_final else PROVISIONAL
    moment = _moment(candle.window_start)
    return [*prices, volume_text(candle.volume), moment, direction, candle.source.replace("_", " "), state]


def _moment(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M}"


def _last_price(candles: Sequence[Candle], colours: Colours, shapes: list[dict[str, Any]]) -> dict[str, Any]:
    """A line through the last close, its figure on the axis: the first shape and the first annotation."""
    if not candles:
        return {}
    last = candles[-1]
    colour = colours.up if last.close >= last.open else colours.down
    level = float(last.close)
    line = {
        "type": "line",
        "name": "last price",
        "xref": "paper",
        "x0": 0,
        "x1": 1,
        "y0": level,
        "y1": level,
        "line": {"color": colour, "width": 1, "dash": "dot"},
    }
    label = {
        "xref": "paper",
        "x": 1,
        "y": level,
        "xanchor": "left",
        "text": price_text(last.close),
        "showarrow": False,
        "font": {"color": colours.label_text, "size": 11},
        "bgcolor": colour,
        "borderpad": 3,
    }
    return {"shapes": [line, *shapes], "annotations": [label]}
