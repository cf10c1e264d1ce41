"""Binance's recorded answers, read and fetched from a local server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tenacity import wait_none

from include.errors import (
    BadPayload,
    Banned,
    GeoBlocked,
    RateLimited,
    SourceError,
    SymbolUnknown,
    Transient,
)
from include.market.event import reason_invalid
from include.market.instrument import Instrument
from include.sources.base import DAILY_BARS, MINUTE_BARS, MINUTE_US, QUOTES, TRADES, Answer, FetchResult, Want
from include.sources.binance import DECLARATION, PAGE_ROWS, PAIRS_PER_TICKER_CALL, QUOTE_ASSETS, BinanceSource
from include.sources.catalogue import catalogue
from include.sources.client import MAX_PAGES, SourceClient
from include.sources.gate import OpenGate
from include.sources.http import HttpTransport
from include.sources.retry import TRIES, retrying
from tests.unit.sources import answers
from tests.unit.sources.answers import AnswerServer

BTC, ETH = catalogue().get("BTC-USD"), catalogue().get("ETH-USD")
SECOND = 1_000_000
START = 1_588_740_120 * SECOND  # 2020-05-06 04:42 UTC, the first recorded kline
LATER = START + 1_000 * 60 * SECOND
SOURCE = BinanceSource()


def kline(start_us: int, **changes: Any) -> list[Any]:
    row: list[Any] = [
        *(start_us // 1_000, "2.0", "3.0", "1.0", "2.5", "10.5", start_us // 1_000 + 59_999),
        *("26.25", 7, "5.0", "12.5", "0"),
    ]
    for index, value in changes.items():
        row[int(index[1:])] = value
    return row


def ticker(**changes: Any) -> dict[str, Any]:
    return {"symbol": "BTCUSDT", "lastPrice": "2.5", "closeTime": START // 1_000, "count": 9} | changes


def body(*rows: Any) -> bytes:
    return json.dumps(rows).encode()


def read(
    sent: bytes, want: Want = MINUTE_BARS, *, since_us: int = START, now_us: int = LATER, **headers: str
) -> FetchResult:
    """What the source makes of a body, asked for BTC (and ETH where it is prices)."""
    instruments = [BTC, ETH] if want == QUOTES else [BTC]
    (question,) = SOURCE.questions(want, instruments, {"BTC-USD": since_us}, now_us)
    return SOURCE.read(question, Answer(200, headers, sent), now_us)


def fetch(server: AnswerServer, want: Want = MINUTE_BARS, now_us: int = LATER) -> FetchResult:
    """The same, through the client and a real socket."""
    retry = retrying(sleep=lambda _: None, wait=wait_none())
    client = SourceClient(SOURCE, server.url, HttpTransport(), OpenGate(), retry, lambda: now_us)
    try:
        (question,) = SOURCE.questions(want, [BTC], {"BTC-USD": START}, now_us)
        return client.fetch(question)
    finally:
        client.close()


@pytest.fixture
def responses(shared_data: Path) -> Path:
    return shared_data / "responses/binance"


def test_a_recorded_hour_gives_sixty_exact_bars(responses: Path) -> None:
    result = read((responses / "klines_BTCUSDT_1m_20200506.json").read_bytes())
    assert (len(result.events), result.rejected, result.more) == (60, [], None)
    first = result.events[0]
    assert (first.event_id, first.currency) == (f"binance:BTC-USD:bar60:{START}", "USDT")
    assert [str(figure) for figure in (first.open, first.high, first.low, first.close, first.volume)] == [
        "9033.34000000",
        "9039.99000000",
        "9032.75000000",
        "9033.15000000",
        "31.19296800",
    ]
    assert [event.event_time for event in result.events] == [START + i * MINUTE_US for i in range(60)]
    assert [event for event in result.events if reason_invalid(event, LATER)] == []


def test_recorded_tickers_give_the_last_price_and_the_sources_time(responses: Path) -> None:
    result = read((responses / "ticker_24hr_two_symbols.json").read_bytes(), QUOTES)
    assert [(event.symbol, str(event.close), event.event_time, event.volume) for event in result.events] == [
        ("BTC-USD", "69624.00000000", 1_730_439_018_472_000, None),
        ("ETH-USD", "2509.72000000", 1_730_439_018_420_000, None),
    ]


@pytest.mark.parametrize("name", ["klines_BTCUSDT_5m_20200415.json", "klines_BTCUSDT_1d_2019.json"])
def test_recorded_klines_of_another_length_are_rejected_row_by_row(responses: Path, name: str) -> None:
    sent = (responses / name).read_bytes()
    result = read(sent, since_us=0)
    assert (result.events, len(result.rejected)) == ([], len(json.loads(sent)))
    assert {rejected.reason for rejected in result.rejected} == {
        "kline: close time is not one minute after the open time"
    }


@pytest.mark.parametrize(
    "name", ["ticker_24hr_BTCUSDT.json", "ticker_price_BTCUSDT.json", "exchangeInfo_us.json", "depth_FTMUSDT_5000.json"]
)
def test_a_recorded_answer_to_another_question_is_a_bad_payload(responses: Path, name: str) -> None:
    for want in (MINUTE_BARS, QUOTES):
        with pytest.raises(BadPayload, match="not a list"):
            read((responses / name).read_bytes(), want)


def test_recorded_trades_are_no_klines_and_no_prices(responses: Path) -> None:
    sent = (responses / "trades_ETHBTC_1000.json").read_bytes()
    assert [(len(read(sent, want).events), len(read(sent, want).rejected)) for want in (MINUTE_BARS, QUOTES)] == [
        (0, 1_000),
        (0, 1_000),
    ]


@pytest.mark.parametrize(
    ("name", "status", "error"),
    [
        ("error_400_invalid_symbol.json", 400, SymbolUnknown),
        ("error_429_too_much_weight.json", 429, RateLimited),
        ("error_451_restricted_location.json", 451, GeoBlocked),
        # The body decides.
        ("error_400_invalid_symbol.json", 200, SymbolUnknown),
        ("error_429_too_much_weight.json", 400, RateLimited),
        ("error_451_restricted_location.json", 400, GeoBlocked),
    ],
)
def test_a_recorded_refusal_is_one_request_and_its_error(
    server: AnswerServer, responses: Path, name: str, status: int, error: type[SourceError]
) -> None:
    server.answers = [answers.Answer((responses / name).read_bytes(), status)]
    with pytest.raises(error):
        fetch(server)
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    ("status", "headers", "sent", "error", "until"),
    [
        (429, {"retry-after": "30"}, b"", RateLimited, 1_030.0),
        (429, {}, b"", RateLimited, None),
        (418, {"retry-after": "120"}, b"", Banned, 1_120.0),
        (418, {}, b'{"code":-1003,"msg":"IP banned until 0000001500123."}', Banned, 1_500.123),
        (429, {}, b'{"code":-1003,"msg":"IP banned until 0000001500123."}', Banned, 1_500.123),
        (418, {}, b"", Banned, None),
        (403, {}, b"<html>forbidden</html>", Banned, None),
        (418, {"retry-after": "99999999999999"}, b"", Banned, 1_000.0 + 7 * 86_400),
        (418, {}, b'{"code":-1003,"msg":"IP banned until 9999999999999."}', Banned, 1_000.0 + 7 * 86_400),
        (500, {}, b"", Transient, None),
        (503, {}, b"<html>", Transient, None),
        (408, {}, b'{"code":-1007,"msg":"Timeout waiting for response from backend server."}', Transient, None),
        (400, {}, b'{"code":-1120,"msg":"Invalid interval."}', SourceError, None),
        (400, {}, b'{"code":-1100,"msg":"Illegal characters found in a parameter."}', SourceError, None),
        (400, {}, b'{"code":-1102,"msg":"Mandatory parameter was not sent."}', SourceError, None),
        (400, {}, b'{"code":-1220,"msg":"The symbol\'s status does not match."}', SourceError, None),
        (302, {"location": "https://elsewhere"}, b"", SourceError, None),
        (404, {}, b"<html>", SourceError, None),
        (200, {}, b'{"code":-1121,"msg":"Invalid symbol."}', SymbolUnknown, None),
    ],
)
def test_a_refusal_is_its_error_and_says_until_when(
    status: int, headers: dict[str, str], sent: bytes, error: type[SourceError], until: float | None
) -> None:
    refused = SOURCE.refusal(Answer(status, headers, sent), 1_000 * SECOND)
    assert (type(refused), refused and refused.until) == (error, until)


def test_what_the_source_says_was_used() -> None:
    used = [
        SOURCE.used(Answer(200, headers, b"[]"))
        for headers in (
            {"x-mbx-used-weight": "9", "x-mbx-used-weight-1m": "42"},
            {"X-MBX-USED-WEIGHT-1M": "7"},
            {"x-mbx-used-weight-1m": "much"},
            {},
        )
    ]
    assert used == [42, 7, None, None]


def test_a_minute_is_closed_only_when_the_clock_has_passed_its_end() -> None:
    sent = body(kline(START))
    assert read(sent, now_us=START + MINUTE_US - 1).dropped == {"still open": 1}
    assert len(read(sent, now_us=START + MINUTE_US).events) == 1


def test_the_servers_clock_holds_a_fast_host_clock_back(server: AnswerServer) -> None:
    server.answers = [answers.Answer(body(kline(START)), headers={"Date": "Wed, 06 May 2020 04:42:59 GMT"})]
    assert fetch(server).dropped == {"still open": 1}
    server.answers = [answers.Answer(body(kline(START)), headers={"Date": "Wed, 06 May 2020 04:43:00 GMT"})]
    assert len(fetch(server).events) == 1


def test_times_in_microseconds_are_the_same_times() -> None:
    row = kline(START)
    row[0], row[6] = START, START + MINUTE_US - 1
    assert read(body(row)) == read(body(kline(START)))


def test_a_missing_hour_is_missing_and_a_row_from_before_is_not_asked_for() -> None:
    rows = [kline(START + minute * MINUTE_US) for minute in (-1, 0, 61)]
    result = read(body(*rows))
    assert [event.event_time for event in result.events] == [START, START + 61 * MINUTE_US]
    assert result.dropped == {"from before the time asked for": 1}


def test_a_time_far_ahead_is_passed_on_to_be_judged() -> None:
    (event,) = read(body(kline(LATER + 60 * MINUTE_US))).events
    assert reason_invalid(event, LATER) == "event time lies in the future"


@pytest.mark.parametrize(
    "changes",
    [
        {"_1": "NaN"},
        {"_2": "Infinity"},
        {"_3": "cheap"},
        {"_4": 2.5},
        {"_5": True},
        {"_5": "1E+999999999"},
        {"_0": (START + 3 * SECOND) // 1_000},
        {"_0": 0},
        {"_0": None},
        {"_0": str(START // 1_000)},
        {"_0": START // SECOND},
        {"_0": START * 1_000},
        {"_6": START // 1_000 + 299_999},
    ],
)
def test_a_row_that_is_no_kline_is_rejected_alone_and_can_be_read_again(changes: dict[str, Any]) -> None:
    bad, good = kline(START, **changes), kline(START + MINUTE_US)
    result = read(body(bad, good))
    assert [event.event_time for event in result.events] == [START + MINUTE_US]
    (rejected,) = result.rejected
    assert (json.loads(rejected.raw), rejected.symbol, rejected.asked_for) == ([bad], "BTC-USD", "bar60")
    assert read(rejected.raw).rejected == [rejected]


@pytest.mark.parametrize(
    ("changes", "symbol"),
    [
        ({"lastPrice": 2.5}, "BTC-USD"),
        ({"lastPrice": "NaN"}, "BTC-USD"),
        ({"closeTime": START // SECOND}, "BTC-USD"),
        ({"symbol": 7}, ""),
    ],
)
def test_a_ticker_that_is_none_is_rejected_alone_and_can_be_read_again(changes: dict[str, Any], symbol: str) -> None:
    result = read(body(ticker(**changes), ticker(symbol="ETHUSDT"), ticker(symbol="XYZUSDT")), QUOTES)
    assert [event.symbol for event in result.events] == ["ETH-USD"]
    assert result.dropped == {"not asked for": 1}
    (rejected,) = result.rejected
    assert (json.loads(rejected.raw), rejected.symbol, rejected.asked_for) == ([ticker(**changes)], symbol, "quote")
    assert read(rejected.raw, QUOTES).rejected == [rejected]


def test_a_halted_pair_has_no_price_of_now() -> None:
    assert read(body(ticker(count=0, lastPrice="0.00000000")), QUOTES).dropped == {"no trade in 24 hours": 1}


@pytest.mark.parametrize(
    "spoilt",
    [
        *(b"", b"null", b'{"rows":[]}', b"[[1,2", b"<html>", b'[["\xff"]', b"[NaN]", b"[]]", b"\xef\xbb\xbf[]"),
        *(b'[{"symbol":"BTCUSDT","symbol":"BTCUSDT"}]', b"[" * 100_000),
    ],
)
def test_what_is_no_list_is_a_bad_payload_with_its_body(spoilt: bytes) -> None:
    with pytest.raises(BadPayload) as caught:
        read(spoilt)
    assert caught.value.payload == spoilt


def test_every_pair_of_the_catalogue_has_a_declared_quote_asset() -> None:
    pairs = {instrument.ids["binance"] for instrument in catalogue() if "binance" in instrument.ids}
    assert pairs - QUOTE_ASSETS.keys() == set()


@pytest.mark.parametrize("want", [MINUTE_BARS, QUOTES])
def test_a_pair_without_a_declared_quote_asset_is_not_asked_for(want: Want) -> None:
    unknown = Instrument("ABC-EUR", "crypto", "Abc", {"binance": "ABCEUR"})
    with pytest.raises(SymbolUnknown, match="quote asset"):
        SOURCE.questions(want, [unknown], {"ABC-EUR": START}, LATER)


@pytest.mark.parametrize("want", [TRADES, DAILY_BARS])
def test_what_is_not_declared_has_no_question_here(want: Want) -> None:
    with pytest.raises(ValueError, match="not asked for"):
        SOURCE.questions(want, [BTC], {"BTC-USD": START}, LATER)


def test_questions_cost_what_is_declared_and_hold_no_more_than_a_batch() -> None:
    coins = [instrument for instrument in catalogue() if "binance" in instrument.ids] * 2
    for want in (MINUTE_BARS, QUOTES):
        capability = DECLARATION.offers("crypto", want)
        assert capability is not None
        questions = SOURCE.questions(want, coins, dict.fromkeys((coin.symbol for coin in coins), START), LATER)
        assert [coin for question in questions for coin in question.instruments] == coins
        assert {question.cost for question in questions} == {capability.cost}
        assert max(len(question.instruments) for question in questions) == capability.batch
    assert len(coins) > PAIRS_PER_TICKER_CALL


def test_prices_of_many_pairs_are_one_request(server: AnswerServer) -> None:
    server.answers = [answers.Answer(b"[]")]
    (question,) = SOURCE.questions(QUOTES, [BTC, ETH], {}, LATER)
    assert (question.path, question.params) == ("/api/v3/ticker/24hr", {"symbols": '["BTCUSDT","ETHUSDT"]'})


def test_an_outage_is_tried_again_and_passes(server: AnswerServer) -> None:
    server.answers = [answers.Answer(b"<html>", 503), answers.Answer(b"", 502), answers.Answer(body(kline(START)))]
    assert len(fetch(server).events) == 1
    assert len(server.asked) == TRIES


def test_pages_go_forward_from_the_last_bar_until_a_page_is_short(server: AnswerServer) -> None:
    late = START + 10_000 * MINUTE_US
    pages = [[kline(START + (1_000 * page + row) * MINUTE_US) for row in range(PAGE_ROWS)] for page in range(2)]
    server.answers = [answers.Answer(body(*pages[0])), answers.Answer(body(*pages[1])), answers.Answer(b"[]")]
    result = fetch(server, now_us=late)
    assert len(result.events) == 2 * PAGE_ROWS
    assert [int(query["startTime"]) for _, query in server.asked] == [
        (START + 1_000 * page * MINUTE_US) // 1_000 for page in range(3)
    ]


def test_pages_go_forward_past_rows_that_are_all_bad(server: AnswerServer) -> None:
    late = START + 10_000 * MINUTE_US
    spoilt = [kline(START + row * MINUTE_US, _1="x") for row in range(PAGE_ROWS)]
    server.answers = [answers.Answer(body(*spoilt)), answers.Answer(body(kline(START + PAGE_ROWS * MINUTE_US)))]
    result = fetch(server, now_us=late)
    assert (len(result.events), len(result.rejected)) == (1, PAGE_ROWS)


def test_one_fetch_asks_for_a_few_pages_only_and_says_what_is_left(server: AnswerServer) -> None:
    late = START + 10_000 * MINUTE_US
    # The same page again and again, as a stuck cache would send it.
    server.answers = [answers.Answer(body(*(kline(START + row * MINUTE_US) for row in range(PAGE_ROWS))))]
    result = fetch(server, now_us=late)
    assert len(server.asked) == MAX_PAGES
    assert result.more is not None
    assert len(result.events) == PAGE_ROWS


def test_an_empty_answer_is_no_error() -> None:
    assert read(b"[]") == FetchResult()
