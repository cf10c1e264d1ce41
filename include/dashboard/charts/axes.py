"""The frame of the main chart: panes over one time axis, without the hours in which nothing is traded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from include.dashboard.charts.colours import Colours, faded
from include.dashboard.charts.frame import axis_time
from include.dashboard.selection import Selection
from include.market.candle import Candle
from include.market.timeframe import TIMEFRAME_SECONDS
from include.storage.chart_reads import Closure

#: Candles in view before the reader zooms; the rest is there to pan to.
IN_VIEW = 120
#: How the legend calls a candle that may still change, and one that may not.
PROVISIONAL, FINAL = "provisional", ""
#: Of a pane that has no figure yet.
_EMPTY_VOLATILITY = [0, 0.001]
_FREE_ON_THE_RIGHT = 4
#: Plotly slows down with every break; so many are the nights and weekends of 500 candles of any timeframe.
_MOST_BREAKS = 150
#: Bottom and top of each pane, as shares of the height: price, volume, volatility.
_TWO_PANES = ((0.22, 1.0), (0.0, 0.18), (0.0, 0.0))
_THREE_PANES = ((0.36, 1.0), (0.18, 0.32), (0.0, 0.14))


def chart_layout(
    candles: Sequence[Candle],
    traces: Sequence[Mapping[str, Any]],
    closures: Sequence[Closure],
    selection: Selection,
    colours: Colours,
) -> dict[str, Any]:
    """`candles` oldest first; `traces` have the lines over them, which are to be in view too.

    `uirevision` names symbol and timeframe: the reader's zoom outlives what comes later.
    """
    shown = in_view(candles, selection)
    lines = [trace for trace in traces if trace.get("mode") == "lines" and "yaxis" not in trace]
    price, volume, volatility = _THREE_PANES if "volatility" in selection.layers else _TWO_PANES
    layout = {
        "uirevision": f"{selection.symbol}:{selection.timeframe}",
        "meta": {
            "key": selection.key,
            "symbol": selection.symbol,
            "timeframe": selection.timeframe,
            "seconds": TIMEFRAME_SECONDS[selection.timeframe],
            "ranged": selection.start is not None,
            "up": colours.up,
            "down": colours.down,
            "shades": volume_shades(colours),
        },
        "margin": {"l": 6, "r": 76, "t": 30, "b": 38},
        "paper_bgcolor": colours.background,
        "plot_bgcolor": colours.background,
        "font": {"color": colours.text, "size": 11, "family": "system-ui, sans-serif"},
        "dragmode": "pan",
        "hovermode": "x",
        "hoverdistance": 30,
        "spikedistance": -1,
        "bargap": 0.25,
        "showlegend": False,
        "modebar": {"orientation": "h", "bgcolor": "rgba(0,0,0,0)", "color": colours.spike},
        "xaxis": _time_axis(candles, closures, selection, colours),
        "yaxis": _price_axis(shown, lines, price, colours),
        "yaxis2": _volume_axis(shown, volume, colours),
    }
    if "volatility" in selection.layers:
        percent: dict[str, Any] = {"tickformat": ".2%", "nticks": 3, "rangemode": "tozero"}
        if not any(value is not None for trace in traces if trace.get("yaxis") == "y3" for value in trace["y"]):
            percent["range"] = _EMPTY_VOLATILITY
        layout["yaxis3"] = {"side": "right", "domain": volatility, "fixedrange": True, **percent, **_lines(colours)}
    return layout


def volume_shades(colours: Colours) -> dict[str, dict[str, str]]:
    """By direction and state, as the legend of a point has them."""
    return {
        direction: {PROVISIONAL: faded(colour, 0.25), FINAL: faded(colour, 0.5)}
        for direction, colour in (("up", colours.up), ("down", colours.down))
    }


def in_view(candles: Sequence[Candle], selection: Selection) -> Sequence[Candle]:
    """Those that the page opens on."""
    if selection.start is None or selection.end is None:
        return candles[-IN_VIEW:]
    return [each for each in candles if selection.start <= each.window_start < selection.end] or candles[-IN_VIEW:]


def _time_axis(
    candles: Sequence[Candle], closures: Sequence[Closure], selection: Selection, colours: Colours
) -> dict[str, Any]:
    axis = {"type": "date", "anchor": "y2", "rangeslider": {"visible": False}, **_lines(colours)}
    if selection.start is not None and selection.end is not None:
        axis["range"] = [axis_time(selection.start), axis_time(selection.end)]
    elif candles:
        width = timedelta(seconds=TIMEFRAME_SECONDS[selection.timeframe])
        newest = candles[-1].window_start
        # A chart that has just begun keeps its candles slim: the window is as wide as a full one.
        oldest = min(candles[-IN_VIEW:][0].window_start, newest - IN_VIEW // 2 * width)
        axis["range"] = [axis_time(oldest - width), axis_time(newest + _FREE_ON_THE_RIGHT * width)]
    breaks = [_break(closure, TIMEFRAME_SECONDS[selection.timeframe]) for closure in closures[-_MOST_BREAKS:]]
    axis["rangebreaks"] = [{"bounds": [axis_time(edge) for edge in each]} for each in breaks if each[0] < each[1]]
    return axis


def _break(closure: Closure, seconds: int) -> tuple[datetime, datetime]:
    """From the end of the window in which the market closes to the start of that in which it opens."""
    width = timedelta(seconds=seconds)
    past_close = timedelta(seconds=closure.closes_at.timestamp() % seconds)
    first = closure.closes_at - past_close + (width if past_close else timedelta(0))
    return first, closure.opens_at - timedelta(seconds=closure.opens_at.timestamp() % seconds)


def _price_axis(
    shown: Sequence[Candle], lines: Sequence[Mapping[str, Any]], domain: tuple[float, float], colours: Colours
) -> dict[str, Any]:
    axis = {"side": "right", "domain": domain, "fixedrange": True, **_lines(colours)}
    if shown:
        first, last = axis_time(shown[0].window_start), axis_time(shown[-1].window_start)
        values = [
            value
            for line in lines
            for at, value in zip(line["x"], line["y"], strict=True)
            if value is not None and first <= at <= last
        ]
        low = min([*values, *(float(each.low) for each in shown)])
        high = max([*values, *(float(each.high) for each in shown)])
        pad = (high - low or high * 0.01) * 0.06
        axis["range"] = [low - pad, high + pad]
        axis["tickformat"] = ",.2f" if high >= 1 else ",.6f"
    return axis


def _volume_axis(shown: Sequence[Candle], domain: tuple[float, float], colours: Colours) -> dict[str, Any]:
    most = max((float(each.volume) for each in shown if each.volume is not None), default=1.0)
    return {
        "side": "right",
        "domain": domain,
        "fixedrange": True,
        "range": [0, most * 1.05 or 1],
        "nticks": 3,
        "tickformat": "~s",
        **_lines(colours),
        "showspikes": False,
    }


def _lines(colours: Colours) -> dict[str, Any]:
    return {
        "gridcolor": colours.grid,
        "linecolor": colours.grid,
        "zeroline": False,
        "showspikes": True,
        "spikemode": "across",
        "spikesnap": "cursor",
        "spikethickness": 1,
        "spikedash": "dot",
        "spikecolor": colours.spike,
    }
