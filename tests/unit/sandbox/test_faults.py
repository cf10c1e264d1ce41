"""Every fault does what its name says, for whom it is meant, and ends."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from starlette.testclient import TestClient

from include.sandbox.app import FAULTS, create_app
from include.sandbox.bars import MINUTE
from include.sandbox.faults import FaultKind
from include.sandbox.market import Market
from include.sandbox.simulated import SimulatedMarket
from include.sources.catalogue import catalogue
from tests.unit.sandbox.conftest import NOW, SEED, client
from tests.waiting import wait_until

RUNNING = NOW - NOW % MINUTE
KLINES = "/binance/api/v3/klines?symbol=BTCUSDT&interval=1m&limit=120"
TICKERS = "/binance/api/v3/ticker/price"
CHART = f"/yahoo/v8/finance/chart/AAPL?interval=1m&period1={RUNNING - 3600}&period2={NOW + 1}"
QUOTES = "/yahoo/v7/finance/quote?symbols=AAPL,MSFT&crumb=sandbox"


class Clock:
    """A clock that a test moves."""

    def __init__(self, now: float = NOW) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def start(server: TestClient, source: str, name: str, **how: Any) -> dict[str, Any]:
    answer = server.post("/sandbox/faults", json={"source": source, "name": name, **how})
    assert answer.status_code == 201, answer.text
    started: dict[str, Any] = answer.json()
    return started


def clocked(market: Market) -> tuple[TestClient, Clock]:
    clock = Clock()
    return TestClient(create_app(market, catalogue(), SEED, clock)), clock


def under(market: Market, path: str, name: str, **how: Any) -> httpx2.Response:
    """The answer under one fault."""
    server = client(market)
    start(server, path.split("/")[1], name, **how)
    return server.get(path, follow_redirects=False)


# The door ---------------------------------------------------------------------------------------


def test_what_is_known_is_listed_with_a_line_each(simulated: SimulatedMarket) -> None:
    known = client(simulated).get("/sandbox/faults").json()["known"]
    assert set(known) == {"yahoo", "alpha_vantage", "coingecko", "binance"}
    assert all(line and "\n" not in line for kinds in known.values() for line in kinds.values())
    assert {source: len(kinds) for source, kinds in known.items()} == {s: len(k) for s, k in FAULTS.items()}


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"source": "binance", "name": "nope"}, "binance has no fault nope: it takes 403, 418, "),
        ({"source": "nyse", "name": "429"}, "no source nyse: it takes alpha_vantage, binance, coingecko, yahoo"),
        ({"source": "binance", "name": "429", "symbol": "AAPL"}, "binance has no symbol AAPL here"),
        ({"source": "binance", "name": "429", "seconds": 0}, "> 0.0"),
        ({"source": "binance", "name": "429", "calls": 0}, ">= 1"),
        ({"source": "binance", "name": "429", "often": 3}, "unknown field `often`"),
        ({"source": "binance"}, "missing required field `name`"),
    ],
)
def test_a_wrong_wish_is_refused_by_name(simulated: SimulatedMarket, body: dict[str, Any], said: str) -> None:
    server = client(simulated)
    answer = server.post("/sandbox/faults", json=body)
    assert answer.status_code == 422
    assert said in answer.json()["detail"]
    assert server.get("/sandbox/faults").json()["active"] == []


def test_a_fault_ends_after_its_time(simulated: SimulatedMarket) -> None:
    server, clock = clocked(simulated)
    started = start(server, "binance", "503", seconds=90)
    assert started["until"] == "2026-11-23T10:01:50Z"
    assert server.get(TICKERS).status_code == 503
    clock.now += 89.9
    assert server.get(TICKERS).status_code == 503
    clock.now += 0.2
    assert server.get(TICKERS).status_code == 200
    assert server.get("/sandbox/faults").json()["active"] == []


def test_a_fault_begins_after_some_calls_and_ends_after_others(simulated: SimulatedMarket) -> None:
    server = client(simulated)
    start(server, "binance", "500", calls=2, after=1)
    assert [server.get(TICKERS).status_code for _ in range(5)] == [200, 500, 500, 200, 200]


def test_a_fault_is_for_its_symbol_its_path_and_its_source(simulated: SimulatedMarket) -> None:
    server = client(simulated)
    start(server, "binance", "503", symbol="BTC-USD", path="klines")
    assert server.get(KLINES).status_code == 503
    assert server.get(KLINES.replace("BTC", "ETH")).status_code == 200
    assert server.get("/binance/api/v3/ticker/price?symbol=BTCUSDT").status_code == 200
    assert server.get(CHART).status_code == 200
    start(server, "yahoo", "html", symbol="MSFT")
    assert server.get(CHART).headers["content-type"].startswith("application/json")
    assert server.get(QUOTES).headers["content-type"].startswith("text/html")


def test_faults_are_cleared_one_by_one_or_all(simulated: SimulatedMarket) -> None:
    server = client(simulated)
    ids = [start(server, "binance", name)["id"] for name in ("500", "503", "451")]
    assert server.get(TICKERS).status_code == 451
    assert server.delete(f"/sandbox/faults/{ids[2]}").json() == {"ended": 1}
    assert server.get(TICKERS).status_code == 503
    assert server.delete(f"/sandbox/faults/{ids[2]}").status_code == 404
    assert server.delete("/sandbox/faults").json() == {"ended": 2}
    assert server.get(TICKERS).status_code == 200


# Refusals ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "name", "status", "said"),
    [
        (CHART, "429", 429, "Edge: Too Many Requests"),
        (QUOTES, "unauthorized-crumb", 401, '"Invalid Crumb"'),
        (QUOTES, "unauthorized-feature", 401, "User is unable to access this feature"),
        ("/yahoo/v1/test/getcrumb", "crumb-too-many", 200, "Too Many Requests"),
        ("/yahoo/v1/test/getcrumb", "crumb-html", 200, "<html>"),
        ("/yahoo/v1/test/getcrumb", "crumb-empty", 200, ""),
        (CHART, "consent-redirect", 302, ""),
        (CHART, "delisted", 404, "No data found, symbol may be delisted"),
        (CHART, "range-422", 422, "must be within the last 30 days"),
        (CHART, "before-listing", 400, "Data doesn't exist for startDate"),
        (CHART, "chart-null", 200, '{"chart":null}'),
        (CHART, "html", 200, "Will be right back"),
        (CHART, "html-503", 503, "Will be right back"),
        (CHART, "empty-body", 200, ""),
        (CHART, "deep", 200, "[" * 1000),
        (KLINES, "403", 403, "403 Forbidden"),
        (KLINES, "451", 451, "restricted location"),
        (KLINES, "invalid-symbol", 400, '"code":-1121'),
        (KLINES, "invalid-interval", 400, '"code":-1120'),
        (KLINES, "500", 500, '"code":-1000'),
        (KLINES, "503", 503, '"code":-1008'),
        (KLINES, "timeout", 504, '"code":-1007'),
    ],
)
def test_a_whole_answer(simulated: SimulatedMarket, path: str, name: str, status: int, said: str) -> None:
    answer = under(simulated, path, name)
    assert answer.status_code == status
    assert said in answer.text
    assert answer.text or not said


def test_a_limit_says_when_it_ends(simulated: SimulatedMarket) -> None:
    assert under(simulated, KLINES, "429", seconds=45).headers["retry-after"] == "45"
    banned = under(simulated, KLINES, "418", seconds=300)
    assert (banned.status_code, banned.headers["retry-after"]) == (418, "300")
    told = under(simulated, KLINES, "418-text", seconds=300)
    assert "retry-after" not in told.headers
    assert f"IP banned until {(NOW + 300) * 1000}." in told.json()["msg"]


# Changed answers ----------------------------------------------------------------------------------


def chart(answer: httpx2.Response) -> Any:
    (result,) = answer.json()["chart"]["result"]
    return result


def columns(result: Any) -> dict[str, list[Any]]:
    (quote,) = result["indicators"]["quote"]
    return quote


@pytest.mark.parametrize(("name", "row"), [("null-first", 0), ("null-middle", 29), ("null-last", 59)])
def test_null_rows(simulated: SimulatedMarket, name: str, row: int) -> None:
    result = chart(under(simulated, CHART, name))
    # The 60 closed minutes, the running one and the live row.
    assert len(result["timestamp"]) == 62
    for column in columns(result).values():
        assert [place for place, value in enumerate(column) if value is None] == [row]


def test_charts_that_are_not_whole(simulated: SimulatedMarket) -> None:
    good = chart(client(simulated).get(CHART))
    empty = chart(under(simulated, CHART, "no-timestamps"))
    assert "timestamp" not in empty
    assert (empty["indicators"], empty["meta"]["currency"]) == ({"quote": [{}]}, None)
    unequal = chart(under(simulated, CHART, "unequal-arrays"))
    assert len(columns(unequal)["close"]) == len(unequal["timestamp"]) - 1
    missing = chart(under(simulated, CHART, "missing-minutes"))
    assert 40 < len(missing["timestamp"]) == len(columns(missing)["open"]) < 50
    half = chart(under(simulated, CHART.replace(f"{NOW + 1}", f"{NOW}"), "half-day"))
    assert half["meta"]["currentTradingPeriod"]["regular"]["end"] % 86_400 == 43_200
    split = chart(under(simulated, CHART, "half-adjusted"))
    assert columns(split)["open"][0] == columns(good)["open"][0] / 4
    assert columns(split)["open"][-1] == columns(good)["open"][-1]
    events = chart(under(simulated, CHART, "events"))["events"]
    assert set(events) == {"splits", "dividends"}
    volumes = columns(chart(under(simulated, CHART, "null-volume")))["volume"]
    assert set(volumes) == {None}
    assert "Infinity" in under(simulated, CHART, "infinite-adjclose").text


def test_quotes_that_are_not_whole(simulated: SimulatedMarket) -> None:
    def symbols(answer: httpx2.Response) -> list[str]:
        return [quote["symbol"] for quote in answer.json()["quoteResponse"]["result"]]

    assert symbols(under(simulated, QUOTES, "quote-omits")) == ["MSFT"]
    assert symbols(under(simulated, QUOTES, "quote-omits", symbol="MSFT")) == ["AAPL"]
    (quote, _) = under(simulated, QUOTES, "quote-none").json()["quoteResponse"]["result"]
    assert quote["quoteType"] == "NONE"
    assert "regularMarketPrice" not in quote


def test_candles_that_are_not_whole(simulated: SimulatedMarket) -> None:
    good = client(simulated).get(KLINES).json()
    hour = [row[0] for row in under(simulated, KLINES, "missing-hour").json()]
    assert all(not 9 * 3600 <= start // 1000 % 86_400 < 10 * 3600 for start in hour)
    assert 0 < len(hour) < len(good)
    off = under(simulated, KLINES, "off-grid").json()
    assert [row[0] % 60_000 for row in off[-4:]] == [0, 7000, 7000, 0]
    assert under(simulated, KLINES, "microseconds").json()[0][0] == good[0][0] * 1000
    assert under(simulated, KLINES, "seconds").json()[0][0] == good[0][0] // 1000
    information = "/binance/api/v3/exchangeInfo?symbols=" + '["BTCUSDT","ETHUSDT"]'
    for name in ("break", "halt"):
        states = [entry["status"] for entry in under(simulated, information, name, symbol="ETH-USD").json()["symbols"]]
        assert states == ["TRADING", name.upper()]


@pytest.mark.parametrize("path", [CHART, QUOTES, KLINES, TICKERS])
@pytest.mark.parametrize(
    ("name", "text", "number"),
    [
        ("nan", '"NaN"', "NaN"),
        ("infinity", '"Infinity"', "Infinity"),
        ("overflow", "1e999", "1e999"),
        ("zero-price", '"0.00000000"', "0"),
        ("negative-price", '"-1.50000000"', "-1.5"),
        ("booleans", "true", "true"),
    ],
)
def test_what_stands_for_prices(simulated: SimulatedMarket, path: str, name: str, text: str, number: str) -> None:
    body = under(simulated, path, name).text
    expected = text if path in (KLINES, TICKERS) else number
    places = {
        CHART: f'"regularMarketPrice":{expected},',
        QUOTES: f'"regularMarketPrice":{expected},',
        KLINES: f"{expected},{expected},{expected},{expected},",
        TICKERS: f'"price":{expected}',
    }
    assert places[path] in body
    if path == CHART:
        assert f'"close":[{expected},{expected},' in body


def test_types_are_swapped(simulated: SimulatedMarket) -> None:
    assert isinstance(under(simulated, KLINES, "swapped-types").json()[0][1], float)
    assert isinstance(columns(chart(under(simulated, CHART, "swapped-types")))["open"][0], str)


def test_bodies_that_no_strict_reader_takes(simulated: SimulatedMarket) -> None:
    good = client(simulated).get(CHART).content
    assert under(simulated, CHART, "truncated").content == good[: len(good) // 2]
    with pytest.raises(UnicodeDecodeError):
        under(simulated, CHART, "bad-utf8").content.decode()
    doubled: list[str] = []

    def count(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        names = [name for name, _ in pairs]
        doubled.extend(name for name in set(names) if names.count(name) > 1)
        return dict(pairs)

    for path, key in ((CHART, "chart"), (KLINES, "rows"), (TICKERS, "symbol")):
        doubled.clear()
        json.loads(under(simulated, path, "duplicate-keys").text, object_pairs_hook=count)
        assert doubled == [key]
    huge = under(simulated, CHART, "huge").content
    assert len(huge) > 10_000_000
    assert json.loads(huge)["body"] == json.loads(good)


# Clocks ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [KLINES, TICKERS, QUOTES])
def test_a_stale_source_repeats_itself(simulated: SimulatedMarket, path: str) -> None:
    server, clock = clocked(simulated)
    first = server.get(path).content
    source = path.split("/")[1]
    start(server, source, "stale", seconds=600)
    clock.now += 300
    assert server.get(path).content == first
    clock.now += 300
    assert server.get(path).content != first


def test_late_facts_come_when_it_ends(simulated: SimulatedMarket) -> None:
    for name, seconds in (("late-10m", 600), ("late-60m", 3600)):
        newest = under(simulated, KLINES, name).json()[-1]
        assert newest[0] == (RUNNING - seconds) * 1000
    assert client(simulated).get(KLINES).json()[-1][0] == RUNNING * 1000


def test_times_are_wrong(simulated: SimulatedMarket) -> None:
    good, candles = chart(client(simulated).get(CHART)), client(simulated).get(KLINES).json()
    ahead = chart(under(simulated, CHART, "future-1h"))
    assert ahead["timestamp"] == good["timestamp"][:-3] + [stamp + 3600 for stamp in good["timestamp"][-3:]]
    assert ahead["meta"]["regularMarketTime"] == good["meta"]["regularMarketTime"] + 3600
    assert [row[0] for row in under(simulated, KLINES, "future-1h").json()][-2:] == [
        row[0] + 3_600_000 for row in candles[-2:]
    ]
    thousands = chart(under(simulated, CHART, "milliseconds"))["timestamp"]
    assert thousands[-4:] == [good["timestamp"][-4], *(stamp * 1000 for stamp in good["timestamp"][-3:])]
    twice = chart(under(simulated, CHART, "equal-times"))
    assert twice["timestamp"] == good["timestamp"] + good["timestamp"][-3:]
    assert columns(twice)["close"][-3:] == [price * 1.01 for price in columns(good)["close"][-3:]]
    rows = under(simulated, KLINES, "equal-times").json()
    assert len(rows) > len({row[0] for row in rows})


# Every one of them, over every answer ---------------------------------------------------------------

ANSWERS: dict[str, list[str]] = {
    "yahoo": [CHART, QUOTES, CHART.replace("1m", "1d"), "/yahoo/v1/test/getcrumb"],
    "binance": [KLINES, TICKERS, "/binance/api/v3/exchangeInfo", "/binance/api/v3/ticker/24hr?symbol=BTCUSDT"],
}
CALL_FAULTS = [(source, kind) for source in ANSWERS for kind in FAULTS[source] if kind.on == "call"]
ON_THE_WIRE = {"mute", "slow", "reset", "gzip-bomb"}


@pytest.mark.parametrize(("source", "kind"), CALL_FAULTS, ids=[f"{s}-{k.name}" for s, k in CALL_FAULTS])
def test_no_fault_breaks_the_sandbox_itself(simulated: SimulatedMarket, source: str, kind: FaultKind) -> None:
    if kind.name in ON_THE_WIRE:
        return
    server = client(simulated)
    good = [server.get(path).content for path in ANSWERS[source]]
    start(server, source, kind.name)
    differs = []
    for path, usual in zip(ANSWERS[source], good, strict=True):
        answer = server.get(path, follow_redirects=False)
        differs.append(answer.content != usual or answer.status_code != 200)
    # With the clock at rest a stale answer is the good one.
    assert any(differs) or kind.name == "stale"


# On the wire ----------------------------------------------------------------------------------------


@pytest.fixture
def wired(simulated: SimulatedMarket, serve: Any) -> Iterator[httpx2.Client]:
    """A client of a real server, without patience."""
    with serve(simulated) as url, httpx2.Client(base_url=url, timeout=0.5) as http:
        yield http


def begin(http: httpx2.Client, source: str, name: str, **how: Any) -> None:
    assert http.post("/sandbox/faults", json={"source": source, "name": name, **how}).status_code == 201


def test_a_mute_source_takes_the_question_and_no_more(wired: httpx2.Client) -> None:
    begin(wired, "binance", "mute", calls=1)
    with pytest.raises(httpx2.ReadTimeout):
        wired.get(TICKERS)
    assert wired.get(TICKERS).status_code == 200
    assert wait_until(lambda: calls_of(wired, "binance", status=499), seconds=5, what="the mute call in the log")


def test_a_slow_source_sends_byte_for_byte(wired: httpx2.Client) -> None:
    begin(wired, "binance", "slow", calls=1)
    with wired.stream("GET", TICKERS) as answer:
        assert answer.status_code == 200
        parts = answer.iter_raw()
        assert next(parts) == b"["
        with pytest.raises(httpx2.ReadTimeout):
            next(parts)


def test_a_connection_is_closed_in_mid_body(wired: httpx2.Client) -> None:
    begin(wired, "binance", "reset", calls=1)
    with pytest.raises(httpx2.RemoteProtocolError):
        wired.get(TICKERS)
    assert wired.get(TICKERS).status_code == 200


def test_a_bomb_is_small_on_the_wire(wired: httpx2.Client) -> None:
    begin(wired, "yahoo", "gzip-bomb")
    with wired.stream("GET", CHART, timeout=10) as answer:
        packed = b"".join(answer.iter_raw())
    assert answer.headers["content-encoding"] == "gzip"
    assert len(packed) < 200_000
    unpacked = zlib.decompress(packed, 31)
    assert len(unpacked) > 100_000_000


def calls_of(http: Any, source: str, **like: Any) -> list[dict[str, Any]]:
    """The logged calls of a source with these values."""
    calls = http.get("/sandbox/calls", params={"source": source}).json()["calls"]
    return [call for call in calls if all(call[key] == value for key, value in like.items())]
