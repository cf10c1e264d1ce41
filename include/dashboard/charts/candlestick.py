"""The main chart: candles above their volume, one shared time axis."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from include.dashboard.charts.colours import Colours, faded
from include.dashboard.formatting import price_text, volume_text
from include.dashboard.selection import Selection
from include.market.candle import Candle
from include.market.timeframe import TIMEFRAME_SECONDS

#: Candles in view before the reader zooms; the rest is there to pan to.
IN_VIEW = 120
_PROVISIONAL_OPACITY = 0.45
_FREE_ON_THE_RIGHT = 4


def candlestick_figure(candles: Sequence[Candle], selection: Selection, colours: Colours) -> dict[str, Any]:
    """`candles` oldest first; one not yet final is drawn lighter. Times on the axis are UTC.

    `uirevision` names symbol and timeframe: the reader's zoom outlives every refresh of the same chart.
    """
    final = [candle for candle in candles if candle.is_final]
    provisional = [candle for candle in candles if not candle.is_final]
    return {
        "data": [
            _candles(final, "final", colours, 1.0),
            _candles(provisional, "provisional", colours, _PROVISIONAL_OPACITY),
            _volume(candles, colours),
        ],
        "layout": {
            **_frame(selection, colours),
            "xaxis": _time_axis(candles, selection, colours),
            "yaxis": _price_axis(candles, colours),
            "yaxis2": _volume_axis(candles, colours),
            **_last_price(candles, colours),
        },
    }


def _candles(candles: Sequence[Candle], name: str, colours: Colours, opacity: float) -> dict[str, Any]:
    return {
        "type": "candlestick",
        "name": name,
        "x": [_axis_time(candle.window_start) for candle in candles],
        "open": [float(candle.open) for candle in candles],
        "high": [float(candle.high) for candle in candles],
        "low": [float(candle.low) for candle in candles],
        "close": [float(candle.close) for candle in candles],
        "customdata": [_legend(candle) for candle in candles],
        "increasing": {"line": {"color": colours.up, "width": 1}, "fillcolor": colours.up},
        "decreasing": {"line": {"color": colours.down, "width": 1}, "fillcolor": colours.down},
        "opacity": opacity,
        "whiskerwidth": 0,
        # The legend above the chart says it: no box over the candles.
        "hoverinfo": "none",
        "showlegend": False,
    }


def _volume(candles: Sequence[Candle], colours: Colours) -> dict[str, Any]:
    def shade(candle: Candle) -> str:
        colour = colours.up if candle.close >= candle.open else colours.down
        return faded(colour, 0.5 if candle.is_final else 0.25)

    return {
        "type": "bar",
        "name": "volume",
        "yaxis": "y2",
        "x": [_axis_time(candle.window_start) for candle in candles],
        "y": [None if candle.volume is None else float(candle.volume) for candle in candles],
        "customdata": [_legend(candle) for candle in candles],
        "marker": {"color": [shade(candle) for candle in candles], "line": {"width": 0}},
        "hoverinfo": "none",
        "showlegend": False,
    }


def _legend(candle: Candle) -> list[str]:
    """Open, high, low, close, volume, time, direction, state: what the legend shows for the candle."""
    prices = [price_text(price) for price in (candle.open, candle.high, candle.low, candle.close)]
    direction = "up" if candle.close >= candle.open else "down"
    state = "" if candle.is_final else "provisional"
    moment = f"{candle.window_start:%Y-%m-%d %H:%M}"
    return [*prices, volume_text(candle.volume), moment, direction, state]


def _frame(selection: Selection, colours: Colours) -> dict[str, Any]:
    return {
        "uirevision": f"{selection.symbol}:{selection.timeframe}",
        "meta": {"symbol": selection.symbol, "timeframe": selection.timeframe},
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
    }


def _time_axis(candles: Sequence[Candle], selection: Selection, colours: Colours) -> dict[str, Any]:
    axis = {
        "type": "date",
        "anchor": "y2",
        "rangeslider": {"visible": False},
        **_lines(colours),
    }
    if candles:
        width = timedelta(seconds=TIMEFRAME_SECONDS[selection.timeframe])
        newest = candles[-1].window_start
        # A chart that has just begun keeps its candles slim: the window is as wide as a full one.
        oldest = min(candles[-IN_VIEW:][0].window_start, newest - IN_VIEW // 2 * width)
        axis["range"] = [_axis_time(oldest - width), _axis_time(newest + _FREE_ON_THE_RIGHT * width)]
    return axis


def _price_axis(candles: Sequence[Candle], colours: Colours) -> dict[str, Any]:
    axis = {"side": "right", "domain": [0.22, 1], "fixedrange": True, **_lines(colours)}
    if candles:
        shown = candles[-IN_VIEW:]
        low, high = float(min(each.low for each in shown)), float(max(each.high for each in shown))
        pad = (high - low or high * 0.01) * 0.06
        axis["range"] = [low - pad, high + pad]
        axis["tickformat"] = ",.2f" if high >= 1 else ",.6f"
    return axis


def _volume_axis(candles: Sequence[Candle], colours: Colours) -> dict[str, Any]:
    most = max((float(each.volume) for each in candles[-IN_VIEW:] if each.volume is not None), default=1.0)
    return {
        "side": "right",
        "domain": [0, 0.18],
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


def _last_price(candles: Sequence[Candle], colours: Colours) -> dict[str, Any]:
    """A line through the last close, its figure on the axis."""
    if not candles:
        return {}
    last = candles[-1]
    colour = colours.up if last.close >= last.open else colours.down
    level = float(last.close)
    return {
        "shapes": [
            {
                "type": "line",
                "name": "last price",
                "xref": "paper",
                "x0": 0,
                "x1": 1,
                "y0": level,
                "y1": level,
                "line": {"color": colour, "width": 1, "dash": "dot"},
            }
        ],
        "annotations": [
            {
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
        ],
    }


def _axis_time(moment: datetime) -> str:
    """Plotly's date axis has no zone: the moment is UTC, written without saying so."""
    return moment.strftime("%Y-%m-%dT%H:%M:%S")
