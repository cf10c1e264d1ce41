"""What is drawn over the candles: one function a layer, in LAYER_TRACES."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from include.dashboard.charts.colours import Colours, faded
from include.dashboard.charts.frame import axis_time
from include.dashboard.selection import Layer
from include.dashboard.words import anomaly_words, gap_words
from include.market.candle import Candle
from include.storage.anomaly_reads import Anomaly
from include.storage.chart_reads import Marks

#: Of changes of source, the newest.
_MOST_SWITCHES = 12
_SIZES = {"warning": 9, "high": 11, "critical": 14}


@dataclass(frozen=True, slots=True)
class Drawn:
    """What a layer is drawn from: candles and marks of one chart, oldest first."""

    candles: Sequence[Candle]
    marks: Marks
    colours: Colours


def _line(drawn: Drawn, name: str, column: str, label: str, colour: str, **more: Any) -> dict[str, Any]:
    points = drawn.marks.indicators
    return {
        "type": "scatter",
        "mode": "lines",
        "name": name,
        "meta": {"label": label},
        "x": [axis_time(each.window_start) for each in points],
        "y": [getattr(each, column) for each in points],
        "line": {"color": colour, "width": 1.4},
        "hoverinfo": "none",
        **more,
    }


def _sma(drawn: Drawn) -> list[dict[str, Any]]:
    return [_line(drawn, "sma", "sma_20", "SMA 20", drawn.colours.lines[0])]


def _ema(drawn: Drawn) -> list[dict[str, Any]]:
    slow = {"line": {"color": drawn.colours.lines[2], "width": 1.4, "dash": "dash"}}
    return [
        _line(drawn, "ema fast", "ema_12", "EMA 12", drawn.colours.lines[1]),
        _line(drawn, "ema slow", "ema_26", "EMA 26", "") | slow,
    ]


def _bands(drawn: Drawn) -> list[dict[str, Any]]:
    edge = {"color": faded(drawn.colours.lines[0], 0.55), "width": 1}
    fill = {"fill": "tonexty", "fillcolor": faded(drawn.colours.lines[0], 0.07)}
    return [
        _line(drawn, "band upper", "bollinger_upper", "Upper", "") | {"line": edge},
        _line(drawn, "band lower", "bollinger_lower", "Lower", "") | {"line": edge} | fill,
    ]


def _vwap(drawn: Drawn) -> list[dict[str, Any]]:
    return [
        {
            "type": "scatter",
            "mode": "lines",
            "name": "vwap",
            "meta": {"label": "VWAP"},
            "x": [axis_time(each.window_start) for each in drawn.candles],
            "y": [None if each.vwap is None else float(each.vwap) for each in drawn.candles],
            "line": {"color": drawn.colours.lines[3], "width": 1.2, "dash": "dot", "shape": "hvh"},
            "hoverinfo": "none",
        }
    ]


def _volatility(drawn: Drawn) -> list[dict[str, Any]]:
    line = _line(drawn, "volatility", "volatility_20", "Volatility 20", drawn.colours.lines[1])
    return [line | {"yaxis": "y3", "meta": {"label": "Volatility 20", "is_percent": True}}]


def _anomalies(drawn: Drawn) -> list[dict[str, Any]]:
    held = {each.window_start: each for each in drawn.candles}
    found = [(each, held[each.window_start]) for each in drawn.marks.anomalies if each.window_start in held]
    price = [pair for pair in found if pair[0].metric == "price"]
    volume = [pair for pair in found if pair[0].metric == "volume" and pair[1].volume is not None]
    return [
        _signs("price anomalies", price, [float(candle.high) for _, candle in price], "triangle-down", "y", drawn),
        _signs("volume anomalies", volume, [float(candle.volume or 0) for _, candle in volume], "diamond", "y2", drawn),
    ]


def _signs(
    name: str, found: Sequence[tuple[Anomaly, Candle]], heights: list[float], symbol: str, axis: str, drawn: Drawn
) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "yaxis": axis,
        "x": [axis_time(each.window_start) for each, _ in found],
        "y": heights,
        "text": [anomaly_words(each) for each, _ in found],
        "marker": {
            "symbol": symbol,
            "size": [_SIZES.get(each.severity, 9) for each, _ in found],
            "color": drawn.colours.alert,
            "line": {"width": 1, "color": drawn.colours.background},
        },
        "cliponaxis": False,
        "hovertemplate": "%{text}<extra></extra>",
    }


def _gaps(drawn: Drawn) -> list[dict[str, Any]]:
    """Signs on the ground of the price pane; the shade behind them is a shape (see `marked`)."""
    gaps = drawn.marks.gaps
    return [
        {
            "type": "scatter",
            "mode": "markers",
            "name": "gaps",
            "yaxis": "y2",
            "x": [axis_time(each.gap_start + (each.gap_end - each.gap_start) / 2) for each in gaps],
            "y": [0 for _ in gaps],
            "text": [gap_words(each) for each in gaps],
            "marker": {"symbol": "x-thin", "size": 8, "line": {"width": 2, "color": drawn.colours.text}},
            "cliponaxis": False,
            "hovertemplate": "%{text}<extra></extra>",
        }
    ]


#: A new layer is a function here, its name in selection.LAYERS and its button's words in LAYER_WORDS.
LAYER_TRACES: Mapping[Layer, Callable[[Drawn], list[dict[str, Any]]]] = {
    "sma": _sma,
    "ema": _ema,
    "bands": _bands,
    "vwap": _vwap,
    "volatility": _volatility,
    "anomalies": _anomalies,
    "gaps": _gaps,
}
#: Label and explanation of the button.
LAYER_WORDS: Mapping[Layer, tuple[str, str]] = {
    "sma": ("SMA", "Mean of the last 20 closes"),
    "ema": ("EMA", "Exponential means over 12 (solid) and 26 (dashed) candles"),
    "bands": ("Bollinger", "Mean of 20 closes, two deviations up and down"),
    "vwap": ("VWAP", "Each candle's average price, weighted by volume"),
    "volatility": ("Volatility", "Deviation of the last 20 log returns"),
    "anomalies": ("Anomalies", "Returns and volumes more than three deviations from the 60 before"),
    "gaps": ("Gaps", "Missing minutes, and where another source took over"),
}


def marked(drawn: Drawn) -> list[dict[str, Any]]:
    """Shapes: a shade for each gap, a line where another source takes over."""
    shades = [
        {
            "type": "rect",
            "name": "gap",
            "xref": "x",
            "yref": "paper",
            "x0": axis_time(each.gap_start),
            "x1": axis_time(each.gap_end),
            "y0": 0,
            "y1": 1,
            "line": {"width": 0},
            "fillcolor": faded(drawn.colours.spike, 0.18),
            "layer": "below",
        }
        for each in drawn.marks.gaps
    ]
    return [*shades, *(_switch(candle, drawn.colours) for candle in switches(drawn.candles)[-_MOST_SWITCHES:])]


def switches(candles: Sequence[Candle]) -> list[Candle]:
    """The first candle of each stretch of another source."""
    return [after for before, after in pairwise(candles) if before.source != after.source]


def _switch(candle: Candle, colours: Colours) -> dict[str, Any]:
    return {
        "type": "line",
        "name": "source",
        "xref": "x",
        "yref": "paper",
        "x0": axis_time(candle.window_start),
        "x1": axis_time(candle.window_start),
        "y0": 0,
        "y1": 1,
        "line": {"color": colours.spike, "width": 1, "dash": "dash"},
        "label": {
            "text": candle.source.replace("_", " "),
            "textposition": "end",
            "textangle": -90,
            "font": {"size": 10, "color": colours.text},
        },
        "layer": "below",
    }
