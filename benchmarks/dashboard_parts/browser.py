"""What a reader's own browser sees: weight and first paint of the page, and when an event is in its pixels."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from playwright.sync_api import Browser, Page, Request, sync_playwright

from include.dashboard.selection import LAYERS
from include.errors import MarketDataError, StackError

ALL_LAYERS = ",".join(LAYERS)
_DRAWN_SECONDS = 60
_ARGUMENTS = ["--no-sandbox", "--disable-background-networking", "--no-first-run"]
_FIRST_PAINT = "() => performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? null"
_CHART = """() => {
    const drawn = document.querySelector('#chart .js-plotly-plot');
    if (!drawn || !drawn.data || !drawn.layout || !drawn.layout.meta) return null;
    const bars = drawn.data.find((trace) => trace.name === 'volume');
    return {symbol: drawn.layout.meta.symbol, candles: bars ? bars.x.length : 0, at: performance.now()};
}"""
# What a frame shows is on the screen when the task after its callbacks runs.
_WATCH = """() => {
    window.seen = {prices: [], chart: []};
    const painted = (note) => requestAnimationFrame(() => setTimeout(() =>
        note(performance.timeOrigin + performance.now())));
    new MutationObserver((changes) => {
        for (const { target } of changes) {
            const row = target.closest('.row');
            const newest = Number(target.dataset.at);
            if (row && newest) painted((at) => window.seen.prices.push([row.dataset.symbol, at, newest]));
        }
    }).observe(document.getElementById('watchlist'), {subtree: true, attributes: true, attributeFilter: ['data-at']});
    const drawn = document.querySelector('#chart .js-plotly-plot');
    drawn.on('plotly_afterplot', () => {
        const ends = drawn.data.slice(0, 2).filter((trace) => trace.x.length);
        const newest = ends.sort((one, other) => one.x.at(-1) < other.x.at(-1) ? 1 : -1)[0];
        if (newest) painted((at) => window.seen.chart.push([at, newest.close.at(-1)]));
    });
}"""


@dataclass(slots=True)
class Heard:
    """What the server sent to one page: the chart's updates by their length, and the requests that drew it."""

    updates: list[int] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)


@contextmanager
def chromium() -> Iterator[Browser]:
    """The system's. Raises StackError without one."""
    path = shutil.which("chromium")
    if path is None:
        raise StackError("no chromium on the path: install the system's package `chromium`")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=_ARGUMENTS)
        yield browser
        browser.close()


@contextmanager
def market_page(browser: Browser, url: str, symbol: str) -> Iterator[tuple[Page, Heard]]:
    """The market page with its candles drawn. Raises MarketDataError where they do not come."""
    context = browser.new_context(viewport={"width": 1440, "height": 900}, color_scheme="dark")
    page, heard = context.new_page(), Heard()
    page.on("request", lambda request: heard.requests.append(request))
    page.on("websocket", lambda socket: socket.on("framereceived", lambda frame: _keep(heard, frame)))
    page.goto(f"{url}/?symbol={symbol}&show={ALL_LAYERS}")
    await_chart(page, symbol)
    yield page, heard
    context.close()


def await_chart(page: Page, symbol: str) -> dict[str, Any]:
    """The chart as drawn. Raises MarketDataError."""
    deadline = time.monotonic() + _DRAWN_SECONDS
    while True:
        found: dict[str, Any] | None = page.evaluate(_CHART)
        if found is not None and found["symbol"] == symbol and found["candles"] > 0:
            return found
        if time.monotonic() > deadline:
            raise MarketDataError(f"no chart of {symbol} within {_DRAWN_SECONDS} s")
        page.wait_for_timeout(10)


def loads(browser: Browser, url: str, symbol: str, times: int) -> dict[str, Any]:
    """Of a first visit and of one more: bytes on the wire, requests, first paint and candles drawn; medians, in ms."""
    found: dict[str, list[dict[str, float]]] = {"first": [], "again": []}
    for _ in range(times):
        context = browser.new_context(viewport={"width": 1440, "height": 900})
        page = context.new_page()
        session = context.new_cdp_session(page)
        session.send("Network.enable")
        sizes: list[float] = []
        session.on("Network.loadingFinished", lambda event, sizes=sizes: sizes.append(event["encodedDataLength"]))
        for visit in found:
            sizes.clear()
            page.goto(f"{url}/?symbol={symbol}")
            drawn = await_chart(page, symbol)
            painted = page.evaluate(_FIRST_PAINT)
            found[visit].append(
                {"kib": sum(sizes) / 1024, "requests": len(sizes), "paint_ms": painted, "drawn_ms": drawn["at"]}
            )
        context.close()
    return {
        visit: {name: round(median(each[name] for each in all_), 1) for name in all_[0]}
        for visit, all_ in found.items()
    }


def watch(page: Page) -> None:
    """From now on the page notes when it has painted what; see `seen`."""
    page.evaluate(_WATCH)


def seen(page: Page) -> tuple[dict[str, list[tuple[int, int]]], list[tuple[int, float]]]:
    """By symbol (when, newest event time then), and of the chart (when, its last close); epoch microseconds."""
    noted = page.evaluate("() => window.seen")
    prices: dict[str, list[tuple[int, int]]] = {}
    for symbol, at, newest in noted["prices"]:
        # The page knows milliseconds: whichever event was in this one.
        prices.setdefault(symbol, []).append((round(at * 1_000), int(newest) * 1_000 + 999))
    return prices, [(round(at * 1_000), close) for at, close in noted["chart"]]


def _keep(heard: Heard, frame: str | bytes) -> None:
    for message in json.loads(frame):
        if message["type"] == "chart":
            heard.updates.append(len(json.dumps(message, separators=(",", ":"))))
