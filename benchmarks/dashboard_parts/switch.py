"""The server's side of a switch to another symbol: what the browser asks then, asked again and again."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
from playwright.sync_api import Browser

from benchmarks.dashboard_parts.browser import market_page
from benchmarks.warehouse_parts.figures import percentiles
from include.errors import MarketDataError

CANDLES = 500
_UPDATE = "/_dash-update-component"
_SEARCH = "url.search"


def asked(browser: Browser, url: str, first: str, second: str) -> list[dict[str, Any]]:
    """The bodies of what a click on another symbol asks, recorded."""
    with market_page(browser, url, first) as (page, heard):
        heard.requests.clear()
        page.locator(f".watchlist [data-symbol='{second}'] a").click()
        page.wait_for_timeout(2_000)
        bodies = [each.post_data_json for each in heard.requests if each.url.endswith(_UPDATE)]
    wanted = [body for body in bodies if _search(body) is not None]
    if not any("figure.data" in body["output"] for body in wanted):
        raise MarketDataError("a click on a symbol asks for no chart")
    return wanted


def switches(url: str, bodies: Sequence[dict[str, Any]], symbols: Sequence[str], query: str, times: int) -> Any:
    """Milliseconds until the last answer of a switch is there, and of the chart's alone; the figure's bytes.

    `query`: the rest of the address, as `&tf=5m`. Raises MarketDataError where an answer is not what the page draws.
    """
    whole, chart, size = [], [], 0
    with httpx2.Client(base_url=url, timeout=30) as client, ThreadPoolExecutor(len(bodies)) as pool:
        for number in range(-len(symbols), times):
            search = f"?symbol={symbols[number % len(symbols)]}{query}"
            began = time.perf_counter_ns()
            answers = list(pool.map(lambda body, search=search: _ask(client, body, search), bodies))
            if number < 0:
                continue
            whole.append(max(at for at, _ in answers) - began)
            for (at, answer), body in zip(answers, bodies, strict=True):
                if "figure.data" in body["output"]:
                    chart.append(at - began)
                    size = _checked(answer)
    return {
        "all_ms": percentiles([each / 1e6 for each in whole]),
        "chart_ms": percentiles([each / 1e6 for each in chart]),
        "figure_bytes": size,
        "times": times,
    }


def _ask(client: httpx2.Client, body: dict[str, Any], search: str) -> tuple[int, httpx2.Response]:
    inputs = [
        each | {"value": search} if f"{each.get('id')}.{each.get('property')}" == _SEARCH else each
        for each in body["inputs"]
    ]
    answer = client.post(_UPDATE, json=body | {"inputs": inputs})
    answer.raise_for_status()
    return time.perf_counter_ns(), answer


def _checked(answer: httpx2.Response) -> int:
    figure = answer.json()["response"]["figure"]["data"]
    candles = sum(len(trace["x"]) for trace in figure["data"][:2])
    if candles != CANDLES:
        raise MarketDataError(f"a chart has {candles} candles instead of {CANDLES}")
    return len(json.dumps(figure, separators=(",", ":")))


def _search(body: dict[str, Any]) -> Any:
    return next(
        (each["value"] for each in body["inputs"] if f"{each.get('id')}.{each.get('property')}" == _SEARCH), None
    )
