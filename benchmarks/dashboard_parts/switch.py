"""The server's side of a switch to another symbol: what the browser asks then, asked again and again."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import httpx2
from playwright.sync_api import Browser, Page

from benchmarks.dashboard_parts.browser import Heard, market_page
from benchmarks.warehouse_parts.figures import percentiles
from include.errors import MarketDataError

CANDLES = 500
_UPDATE, _FIGURE = "/_dash-update-component", "figure.data"
_SEARCH = ("url", "search")


@dataclass(frozen=True, slots=True)
class Question:
    """One request of a switch, as the browser sent it."""

    url: str
    body: Mapping[str, Any]

    @property
    def is_chart(self) -> bool:
        return _FIGURE in self.body["output"]

    @property
    def is_of_the_address(self) -> bool:
        return any(_is_search(each) for each in self.body["inputs"])

    def of(self, search: str) -> dict[str, Any]:
        """The body, asking for another address."""
        inputs = [{**each, "value": search} if _is_search(each) else each for each in self.body["inputs"]]
        return {**self.body, "inputs": inputs}


def _is_search(given: Any) -> bool:
    # Of many components with one pattern of ids it is a list.
    return isinstance(given, Mapping) and (given["id"], given["property"]) == _SEARCH


def asked(browser: Browser, url: str, first: str, second: str) -> list[Question]:
    """What a click on another symbol asks. Raises MarketDataError where that is no chart."""
    with market_page(browser, url, first) as (page, heard):
        heard.requests.clear()
        page.locator(f".watchlist [data-symbol='{second}'] a").click()
        _await_chart(page, heard)
        sent = [Question(each.url, each.post_data_json) for each in heard.requests if _UPDATE in each.url]
    return [question for question in sent if question.is_of_the_address]


def _await_chart(page: Page, heard: Heard) -> None:
    deadline = time.monotonic() + 10
    while not any(_FIGURE in (each.post_data or "") for each in heard.requests if _UPDATE in each.url):
        if time.monotonic() > deadline:
            raise MarketDataError("a click on a symbol asks for no chart")
        page.wait_for_timeout(50)


def switches(questions: Sequence[Question], symbols: Sequence[str], query: str, times: int) -> dict[str, Any]:
    """Milliseconds until the last answer of a switch is there, and of the chart's alone; the figure's bytes.

    `query`: the rest of the address, as `&tf=5m`. Raises MarketDataError where an answer is not what the page draws.
    """
    whole, chart, size = [], [], 0
    place = next(place for place, question in enumerate(questions) if question.is_chart)
    with httpx2.Client(timeout=30) as client, ThreadPoolExecutor(len(questions)) as pool:
        for number in range(-len(symbols), times):
            search = f"?symbol={symbols[number % len(symbols)]}{query}"
            began = time.perf_counter_ns()
            answers = list(pool.map(lambda question, search=search: _ask(client, question, search), questions))
            drawn, text = answers[place]
            size = _checked(text)
            # The first round of all symbols is for what is slow only once.
            if number >= 0:
                whole.append(max(at for at, _ in answers) - began)
                chart.append(drawn - began)
    return {
        "all_ms": percentiles([each / 1e6 for each in whole]),
        "chart_ms": percentiles([each / 1e6 for each in chart]),
        "figure_bytes": size,
        "times": times,
    }


def _ask(client: httpx2.Client, question: Question, search: str) -> tuple[int, str]:
    answer = client.post(question.url, json=question.of(search))
    answer.raise_for_status()
    return time.perf_counter_ns(), answer.text


def _checked(answer: str) -> int:
    figure = json.loads(answer)["response"]["figure"]["data"]
    candles = sum(len(trace["x"]) for trace in figure["data"][:2])
    if candles != CANDLES:
        raise MarketDataError(f"a chart has {candles} candles instead of {CANDLES}")
    return len(json.dumps(figure, separators=(",", ":")))
