"""What the URL asks for: the address is the page's only state, so it can be shared and walked back."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Literal, get_args
from urllib.parse import parse_qs, urlencode

from include.market.timeframe import Timeframe

#: The buttons on the page, finest first.
SHOWN_TIMEFRAMES: tuple[Timeframe, ...] = ("1m", "5m", "15m", "1h")
QUALITY_PATH = "/quality"
Span = Literal["24h", "7d"]
SPANS: tuple[Span, ...] = get_args(Span)
SPAN_LENGTHS: dict[Span, timedelta] = {"24h": timedelta(hours=24), "7d": timedelta(days=7)}
_RUN_ID = re.compile(r"[A-Za-z0-9._:+-]{1,250}")


@dataclass(frozen=True, slots=True)
class Selection:
    """The symbol and timeframe of the chart."""

    symbol: str
    timeframe: Timeframe = "1m"

    def href(self) -> str:
        return "/?" + urlencode({"symbol": self.symbol, "tf": self.timeframe})


def parse_selection(search: str | None, symbols: Sequence[str]) -> Selection:
    """`?symbol=AAPL&tf=5m`; what is missing or unknown falls back to the first symbol and 1m."""
    asked = parse_qs((search or "").removeprefix("?"))
    symbol = asked.get("symbol", [""])[0].upper()
    wanted = asked.get("tf", [""])[0]
    timeframe = next((each for each in SHOWN_TIMEFRAMES if each == wanted), SHOWN_TIMEFRAMES[0])
    return Selection(symbol if symbol in symbols else symbols[0], timeframe)


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
