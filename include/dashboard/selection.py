"""What the URL asks for: the address is the page's only state, so it can be shared and walked back."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Literal, get_args
from urllib.parse import parse_qs, urlencode

from include.market.moments import in_utc
from include.market.timeframe import Timeframe

#: The buttons on the page, finest first.
SHOWN_TIMEFRAMES: tuple[Timeframe, ...] = get_args(Timeframe)
#: What can be laid over the candles, as the address names it, in the order of the buttons.
Layer = Literal["sma", "ema", "bands", "vwap", "volatility", "anomalies", "gaps"]
LAYERS: tuple[Layer, ...] = get_args(Layer)
USUAL_LAYERS: tuple[Layer, ...] = ("sma", "bands", "anomalies", "gaps")
_NO_LAYER = "none"
#: A range that is drawn at once; further apart, the timeframe is too fine for it.
_LONGEST_YEARS = 50
QUALITY_PATH = "/quality"
OPERATIONS_PATH = "/operations"
Span = Literal["24h", "7d"]
SPANS: tuple[Span, ...] = get_args(Span)
SPAN_LENGTHS: dict[Span, timedelta] = {"24h": timedelta(hours=24), "7d": timedelta(days=7)}
_RUN_ID = re.compile(r"[A-Za-z0-9._:+-]{1,250}")


@dataclass(frozen=True, slots=True)
class Selection:
    """What the chart shows: symbol, timeframe, layers, and the range in view (UTC; None: the newest candles)."""

    symbol: str
    timeframe: Timeframe = "1m"
    layers: tuple[Layer, ...] = USUAL_LAYERS
    start: datetime | None = None
    end: datetime | None = None

    def href(self, **changes: Any) -> str:
        """The address with these parts changed; what is usual is left out. Another range is for other candles."""
        wanted = replace(self, **changes)
        parts = {"symbol": wanted.symbol, "tf": wanted.timeframe}
        if wanted.layers != USUAL_LAYERS:
            parts["show"] = ",".join(wanted.layers) or _NO_LAYER
        if wanted.start and wanted.end and wanted.symbol == self.symbol and wanted.timeframe == self.timeframe:
            parts |= {"from": _moment_text(wanted.start), "to": _moment_text(wanted.end)}
        return "/?" + urlencode(parts, safe=",:")

    @property
    def key(self) -> str:
        """Tells apart charts of which one is no continuation of the other."""
        return f"{self.symbol}:{self.timeframe}:{','.join(self.layers)}"

    def toggled(self, layer: Layer) -> str:
        """The address with the layer shown if it is not, and not if it is."""
        wanted = {*self.layers} ^ {layer}
        return self.href(layers=tuple(each for each in LAYERS if each in wanted))


def parse_selection(search: str | None, symbols: Sequence[str]) -> Selection:
    """`?symbol=AAPL&tf=5m&show=sma,bands&from=2026-03-02T14:30&to=2026-03-02T16:00`.

    What is missing or unknown falls back: to the first symbol, 1m, the usual layers and the newest candles.
    """
    asked = {name: values[0] for name, values in parse_qs((search or "").removeprefix("?")).items()}
    symbol, wanted, shown = asked.get("symbol", "").upper(), asked.get("tf"), asked.get("show")
    timeframe = next((each for each in SHOWN_TIMEFRAMES if each == wanted), SHOWN_TIMEFRAMES[0])
    layers = tuple(each for each in LAYERS if each in shown.split(",")) if shown else USUAL_LAYERS
    start, end = _moment(asked.get("from")), _moment(asked.get("to"))
    known = start is not None and end is not None and timedelta(0) < end - start < timedelta(days=365 * _LONGEST_YEARS)
    return Selection(
        symbol if symbol in symbols else symbols[0],
        timeframe,
        layers,
        start if known else None,
        end if known else None,
    )


def _moment(text: str | None) -> datetime | None:
    """UTC unless it says; None for what is no moment of these times."""
    try:
        moment = in_utc(datetime.fromisoformat(text or ""))
    except (ValueError, OverflowError):
        return None
    return moment if 1970 <= moment.year < 9000 else None


def _moment_text(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S").removesuffix(":00")


@dataclass(frozen=True, slots=True)
class QualitySelection:
    """What the quality page shows: the run (None: the newest), the symbol (None: all), how far its courses go back."""

    run: str | None = None
    symbol: str | None = None
    span: Span = "24h"

    def href(self, **changes: Any) -> str:
        """The address with these parts changed; defaults are left out."""
        wanted = replace(self, **changes)
        parts = {"run": wanted.run, "symbol": wanted.symbol, "span": wanted.span if wanted.span != SPANS[0] else None}
        query = urlencode({name: value for name, value in parts.items() if value})
        return f"{QUALITY_PATH}?{query}" if query else QUALITY_PATH


def parse_quality_selection(search: str | None, symbols: Sequence[str]) -> QualitySelection:
    """`?run=…&symbol=AAPL&span=7d`; what is missing or unknown falls back to the newest run, all symbols and 24h.

    A run that could be one is kept: that it is not there is for the page to say.
    """
    asked = {name: values[0] for name, values in parse_qs((search or "").removeprefix("?")).items()}
    run, symbol, wanted = asked.get("run", ""), asked.get("symbol", "").upper(), asked.get("span")
    return QualitySelection(
        run if _RUN_ID.fullmatch(run) else None,
        symbol if symbol in symbols else None,
        next((each for each in SPANS if each == wanted), SPANS[0]),
    )
