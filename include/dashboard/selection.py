"""What the URL asks for: the address is the page's only state, so it can be shared and walked back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import parse_qs, urlencode

from include.market.timeframe import Timeframe

#: The buttons on the page, finest first.
SHOWN_TIMEFRAMES: tuple[Timeframe, ...] = ("1m", "5m", "15m", "1h")


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
