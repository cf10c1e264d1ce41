"""What the page shows, read from its DOM, and waiting for it to become so."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from playwright.sync_api import Page

#: The page must be up to date within this time, whatever its transport.
REFRESH_S = 10.0
_FIGURE = """() => {
    const drawn = document.querySelector('.js-plotly-plot');
    if (!drawn || !drawn.data || !drawn.layout) return null;
    return {data: drawn.data, meta: drawn.layout.meta, range: drawn.layout.xaxis.range};
}"""


def figure(page: Page) -> dict[str, Any] | None:
    """Traces, meta and time range of the chart as drawn; None before there is one."""
    found: dict[str, Any] | None = page.evaluate(_FIGURE)
    return found


def candles_drawn(page: Page) -> dict[str, dict[str, Any]]:
    """`{time: {open, high, low, close, volume}}` of all candles, provisional ones too."""
    drawn = figure(page)
    if drawn is None:
        return {}
    traces = {trace["name"]: trace for trace in drawn["data"]}
    candlesticks = [traces[name] for name in ("final", "provisional") if name in traces]
    volumes = dict(zip(traces["volume"]["x"], traces["volume"]["y"], strict=True)) if candlesticks else {}
    names = ("open", "high", "low", "close")
    return {
        moment: {name: trace[name][place] for name in names} | {"volume": volumes[moment]}
        for trace in candlesticks
        for place, moment in enumerate(trace["x"])
    }


def bring_prices(stack: Any, asset: str) -> None:
    """What a minute's fetch of the stack brings, now: `asset` is stocks or crypto."""
    fetched = stack.run("run-once", asset)
    assert fetched.returncode == 0, fetched.stderr


def wait_until(page: Page, holds: Callable[[], Any], what: str, seconds: float = 20.0) -> None:
    """Polls from outside: the page's own policy forbids the evaluation that Playwright's waits need."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, f"not within {seconds} s: {what}"
        page.wait_for_timeout(100)


def wait_for_candles(page: Page, symbol: str, timeframe: str) -> None:
    def shown() -> bool:
        drawn = figure(page)
        return (
            drawn is not None
            and (drawn["meta"]["symbol"], drawn["meta"]["timeframe"]) == (symbol, timeframe)
            and len(candles_drawn(page)) > 0
        )

    wait_until(page, shown, f"candles of {symbol} {timeframe}")
