"""The faults of Alpha Vantage and CoinGecko, over bodies of the shapes that the sources send."""

from __future__ import annotations

import json
from typing import Any

import httpx2
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.testclient import TestClient

from include.market.event import Source
from include.sandbox.app import FAULTS
from include.sandbox.calls import CallBook
from include.sandbox.dialect import json_response
from include.sandbox.faults import Faults
from include.sandbox.front import Front
from include.sandbox.market import Sandbox
from include.sandbox.simulated import SimulatedMarket
from include.sources.catalogue import catalogue
from tests.unit.sandbox.conftest import NOW, SEED

MARKET = SimulatedMarket(catalogue(), SEED)
QUOTE = {
    "Global Quote": {
        "01. symbol": "MSFT",
        "02. open": "112.6300",
        "03. high": "113.1700",
        "04. low": "110.6400",
        "05. price": "112.1300",
        "06. volume": "29062853",
        "07. latest trading day": "2018-10-05",
        "08. previous close": "112.7900",
        "10. change percent": "-0.5852%",
    }
}


def minute(price: str) -> dict[str, str]:
    return {"1. open": price, "2. high": price, "3. low": price, "4. close": price, "5. volume": "10"}


INTRADAY = {
    "Meta Data": {"2. Symbol": "MSFT", "4. Interval": "1min", "6. Time Zone": "US/Eastern"},
    "Time Series (1min)": {f"2026-11-23 10:0{place}:00": minute(f"{place}.1000") for place in (4, 3, 2, 1)},
}
SIMPLE = {
    "bitcoin": {"usd": 67187.33, "usd_24h_vol": 3.1e10, "usd_24h_change": 3.64, "last_updated_at": NOW - 30},
    "ethereum": {"usd": 0.00012, "usd_24h_vol": 1.0, "usd_24h_change": None, "last_updated_at": NOW - 40},
}
PAGE = [{"id": "bitcoin", "current_price": 67187.33}, {"id": "ethereum", "current_price": None}]


def under(
    source: Source, body: object, name: str, *, path: str = "/query", query: str = "", **how: Any
) -> httpx2.Response:
    """The answer under a fault to a call whose good answer is `body`."""
    faults, calls = Faults(FAULTS), CallBook({})
    front = Front(Sandbox(MARKET, catalogue(), lambda: NOW), faults, calls, lambda: NOW)

    async def good(request: Request) -> Response:
        return json_response(body)

    app = Starlette(routes=[Route(f"/{source}{path}", front.call(source, path, good))])
    app.state.clock = lambda: NOW
    # Whatever it is asked: here that is not the point.
    faults.start(source, name, NOW, path="", **how)
    return TestClient(app).get(f"/{source}{path}?{query}")


def vantage(body: object, name: str) -> httpx2.Response:
    """Under a fault of Alpha Vantage, asked with a key."""
    function = "GLOBAL_QUOTE" if body is QUOTE else "TIME_SERIES_INTRADAY"
    return under("alpha_vantage", body, name, query=f"function={function}&symbol=MSFT&apikey=ABC123")


def pairs_of(text: str) -> list[tuple[str, Any]]:
    """Keys and values of the series in a body, also those that come twice."""
    found: list[list[tuple[str, Any]]] = []

    def keep(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found.append(pairs)
        return dict(pairs)

    json.loads(text, object_pairs_hook=keep)
    return next(pairs for pairs in found if any(key.startswith("2026-") for key, _ in pairs))


@pytest.mark.parametrize(
    ("name", "key", "said"),
    [
        ("burst", "Information", "1 request per second"),
        ("burst-pattern", "Information", "Burst pattern detected"),
        ("daily", "Information", "your API key as ABC123 and our standard API rate limit is 25 requests per day"),
        ("premium", "Information", "This is a premium endpoint"),
        ("premium-full", "Information", "outputsize=full parameter value is a premium feature"),
        ("note", "Note", "5 calls per minute and 500 calls per day"),
        ("invalid-call", "Error Message", "Invalid API call"),
        ("bad-key", "Error Message", "the parameter apikey is invalid or missing"),
        ("detail", "detail", ""),
        ("sample-data", "message", "ARTIFICIAL"),
    ],
)
def test_alpha_vantage_refuses_with_200(name: str, key: str, said: str) -> None:
    answer = vantage(QUOTE, name)
    assert answer.status_code == 200
    assert said in answer.json()[key]
    assert ("Global Quote" in answer.json()) == (name == "sample-data")
    # The burst names the daily limit too: a reader must look for the burst first.
    assert ("25 requests per day" in answer.text) == (name in ("burst", "daily"))


def test_alpha_vantage_quotes_that_are_not_whole() -> None:
    assert vantage(QUOTE, "empty").json() == {}
    assert vantage(QUOTE, "empty-quote").json() == {"Global Quote": {}}
    delayed = vantage(QUOTE, "delayed-root").json()
    assert delayed == {"Global Quote - DATA DELAYED BY 15 MINUTES": QUOTE["Global Quote"]}
    assert vantage(QUOTE, "old-day").json()["Global Quote"]["07. latest trading day"] == "2018-10-02"
    nulls = vantage(QUOTE, "null-numbers").json()["Global Quote"]
    assert [nulls[key] for key in ("02. open", "03. high", "04. low", "05. price")] == ["None", "-", "", "None"]
    assert nulls["06. volume"] == "29062853"
    assert vantage(QUOTE, "nan").json()["Global Quote"]["05. price"] == "NaN"


def test_alpha_vantage_minutes_that_are_not_whole() -> None:
    good = INTRADAY["Time Series (1min)"]
    assert list(vantage(INTRADAY, "last-minute-missing").json()["Time Series (1min)"]) == list(good)[2:]
    ahead = vantage(INTRADAY, "future-1h").json()["Time Series (1min)"]
    assert list(ahead) == [f"2026-11-23 {time}:00" for time in ("11:04", "11:03", "11:02", "10:01")]
    twice = pairs_of(vantage(INTRADAY, "twice-0130").text)
    assert [key for key, _ in twice] == ["2026-11-01 01:30:00"] * 2
    assert twice[0][1] != twice[1][1]
    again = pairs_of(vantage(INTRADAY, "equal-times").text)
    assert [key for key, _ in again] == [next(iter(good)), *good]
    assert (again[0][1]["4. close"], again[1][1]["4. close"]) == ("4.1410", "4.1000")


@pytest.mark.parametrize(
    ("name", "status", "said", "wait"),
    [
        ("429", 429, "exceeded the Rate Limit", "119"),
        ("429-no-header", 429, "exceeded the Rate Limit", None),
        ("401-10002", 401, '{"status":{"error_code":10002', None),
        ("401-10005", 401, '{"status":{"error_code":10005', None),
        ("401-10010", 401, '{"status":{"error_code":10010', None),
        ("401-10011", 401, '{"status":{"error_code":10011', None),
        ("401-10012", 401, '{"error":{"status":{"error_code":10012', None),
        ("403-1020", 403, "error code: 1020", None),
        ("not-found", 404, '{"error":"coin not found"}', None),
    ],
)
def test_coingecko_refuses(name: str, status: int, said: str, wait: str | None) -> None:
    answer = under("coingecko", SIMPLE, name, path="/simple/price")
    assert answer.status_code == status
    assert said in answer.text
    assert answer.headers.get("retry-after") == wait


def simple(name: str, **how: Any) -> dict[str, Any]:
    found: dict[str, Any] = under(
        "coingecko", SIMPLE, name, path="/simple/price", query="ids=bitcoin,ethereum", **how
    ).json()
    return found


def test_coingecko_prices_that_are_not_whole() -> None:
    ethereum = {"symbol": "ETH-USD", "symbol_id": "ethereum"}
    assert set(simple("unknown-id")) == {"ethereum"}
    assert set(simple("unknown-id", **ethereum)) == {"bitcoin"}
    assert simple("empty-price", **ethereum) == {"bitcoin": SIMPLE["bitcoin"], "ethereum": {}}
    assert [row["usd"] for row in simple("null-price").values()] == [None, None]
    assert simple("null-24h")["bitcoin"] == SIMPLE["bitcoin"] | {"usd_24h_vol": None, "usd_24h_change": None}
    assert simple("old-update")["bitcoin"]["last_updated_at"] == NOW - 30 - 7200
    assert simple("future-1h")["bitcoin"]["last_updated_at"] == NOW - 30 + 3600
    assert simple("milliseconds")["bitcoin"]["last_updated_at"] == (NOW - 30) * 1000
    assert {row["last_updated_at"] for row in simple("equal-times").values()} == {NOW}
    assert [row["usd"] for row in simple("integers").values()] == [67187, 1]
    assert len(under("coingecko", PAGE, "short-page", path="/coins/markets").json()) == 1
    assert under("coingecko", PAGE, "booleans", path="/coins/markets").json()[0]["current_price"] is True


def test_coingecko_exponents_are_the_same_figures() -> None:
    answer = under("coingecko", SIMPLE, "exponents", path="/simple/price")
    assert '"usd":6.718733E+4' in answer.text
    assert {id_: row["usd"] for id_, row in answer.json().items()} == {id_: row["usd"] for id_, row in SIMPLE.items()}


OTHER_BODIES: list[object] = [{}, {"Information": "x"}, {"Global Quote": {}}, {"Time Series (1min)": {}}, {"x": {}}]
LISTS: list[object] = [[], [1, "x"]]


@pytest.mark.parametrize(("source", "bodies"), [("alpha_vantage", OTHER_BODIES), ("coingecko", OTHER_BODIES + LISTS)])
def test_an_answer_without_data_can_meet_any_fault(source: Source, bodies: list[object]) -> None:
    """An exception of the fault itself would come out of the client."""
    on_the_wire = ("mute", "slow", "reset", "gzip-bomb", "huge", "deep")
    for name in (kind.name for kind in FAULTS[source] if kind.on == "call" and kind.name not in on_the_wire):
        for body in bodies:
            assert under(source, body, name).status_code in (200, 401, 403, 404, 429, 503)
