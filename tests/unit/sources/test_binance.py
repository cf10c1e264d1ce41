"""Binance's recorded answers, parsed and fetched from a local server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tenacity import wait_none

from include.errors import (
    BadPayload,
    GeoBlocked,
    RateLimited,
    SourceError,
    SymbolUnknown,
    Transient,
)
from include.market.event import decode, encode
from include.market.instrument import Instrument
from include.sources.base import MINUTE_US
from include.sources.binance import MAX_PAGES, PAGE_ROWS, BinanceSource
from include.sources.binance_answers import QUOTE_ASSETS, parse_klines, parse_tickers, refusal
from include.sources.catalogue import catalogue
from include.sources.retry import TRIES, retrying
from tests.unit.sources.answers import Answer, AnswerServer, serving

BTC = catalogue().get("BTC-USD")
ETH = catalogue().get("ETH-USD")
SECOND = 1_000_000
START = 1_588_740_120 * SECOND  # 2020-05-06 04:42 UTC, the first recorded kline
LATER = START + 1_000 * 60 * SECOND


def source(server: AnswerServer, now_us: int = LATER) -> BinanceSource:
    client = httpx2.Client()
    return BinanceSource(server.url, client, lambda: now_us, retrying(sleep=lambda _: None, wait=wait_none()))


def kline(start_us: int, **changes: Any) -> list[Any]:
    row: list[Any] = [
        *(start_us // 1_000, "2.0", "3.0", "1.0", "2.5", "10.5", start_us // 1_000 + 59_999),
        *("26.25", 7, "5.0", "12.5", "0"),
    ]
    for index, value in changes.items():
        row[int(index[1:])] = value
    return row


def body(*rows: Any) -> bytes:
    return json.dumps(rows).encode()


@pytest.fixture
def recorded(shared_data: Path) -> bytes:
    return (shared_data / "responses/binance/klines_BTCUSDT_1m_20200506.json").read_bytes()


def test_a_recorded_hour_gives_sixty_exact_bars(recorded: bytes) -> None:
    result = parse_klines(recorded, BTC, LATER, LATER)
    assert (len(result.events), result.rejected) == (60, [])
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


def test_a_minute_is_closed_only_when_the_servers_clock_has_passed_its_end(recorded: bytes) -> None:
    end_us = START + 60 * MINUTE_US - 1_000
    assert parse_klines(recorded, BTC, end_us, LATER).dropped == {"still open": 1}
    assert parse_klines(recorded, BTC, end_us + 1, LATER).dropped == {}


def test_times_in_microseconds_are_the_same_times() -> None:
    row = kline(START)
    row[0], row[6] = START, START + MINUTE_US - 1
    assert parse_klines(body(row), BTC, LATER, 0) == parse_klines(body(kline(START)), BTC, LATER, 0)


@pytest.mark.parametrize(
    "changes",
    [
        {"_1": "NaN"},
        {"_2": "Infinity"},
        {"_3": "cheap"},
        {"_4": 2.5},
        {"_5": "1E+999999999"},
        {"_0": (START + 3 * SECOND) // 1_000},
        {"_0": 0},
        {"_0": None},
        {"_6": START // 1_000 + 299_999},
    ],
)
def test_a_row_that_is_no_kline_is_rejected_alone(changes: dict[str, Any]) -> None:
    bad, good = kline(START, **changes), kline(START + MINUTE_US)
    result = parse_klines(body(bad, good), BTC, LATER, 0)
    assert [event.event_time for event in result.events] == [START + MINUTE_US]
    assert [json.loads(rejected.raw) for rejected in result.rejected] == [bad]


@pytest.mark.parametrize("spoilt", [b"", b"null", b'{"rows":[]}', b"[[1,2", b"<html>", b'[["\xff"]', b"[NaN]"])
def test_what_is_no_list_is_a_bad_payload_with_its_body(spoilt: bytes) -> None:
    with pytest.raises(BadPayload) as caught:
        parse_klines(spoilt, BTC, LATER, 0)
    assert caught.value.payload == spoilt


def test_recorded_tickers_give_the_last_price_and_the_sources_time(shared_data: Path) -> None:
    two = (shared_data / "responses/binance/ticker_24hr_two_symbols.json").read_bytes()
    result = parse_tickers(two, {"BTCUSDT": BTC, "ETHUSDT": ETH}, LATER)
    assert [(event.symbol, str(event.close), event.event_time, event.volume) for event in result.events] == [
        ("BTC-USD", "69624.00000000", 1_730_439_018_472_000, None),
        ("ETH-USD", "2509.72000000", 1_730_439_018_420_000, None),
    ]
    assert parse_tickers(two, {"ETHUSDT": ETH}, LATER).dropped == {"not asked for": 1}


def test_every_pair_of_the_catalogue_has_a_declared_quote_asset() -> None:
    pairs = {instrument.ids["binance"] for instrument in catalogue() if "binance" in instrument.ids}
    assert pairs - QUOTE_ASSETS.keys() == set()


def test_a_pair_without_a_declared_quote_asset_is_not_asked_for(server: AnswerServer) -> None:
    unknown = Instrument("ABC-EUR", "crypto", "Abc", {"binance": "ABCEUR"})
    with pytest.raises(SymbolUnknown, match="quote asset"):
        source(server).closed_bars(unknown, START, LATER)
    assert server.asked == []


@pytest.mark.parametrize(
    ("name", "status", "error"),
    [
        ("error_400_invalid_symbol.json", 400, SymbolUnknown),
        ("error_429_too_much_weight.json", 429, RateLimited),
        ("error_451_restricted_location.json", 451, GeoBlocked),
    ],
)
def test_a_recorded_refusal_is_one_request_and_its_error(
    server: AnswerServer, shared_data: Path, name: str, status: int, error: type[SourceError]
) -> None:
    server.answers = [Answer((shared_data / "responses/binance" / name).read_bytes(), status)]
    with pytest.raises(error):
        source(server).closed_bars(BTC, START, LATER)
    assert len(server.asked) == 1


def test_a_rate_limit_ends_by_the_header_or_by_the_bans_text() -> None:
    stated = b'{"code":-1003,"msg":"Way too much request weight used; IP banned until 1785050129644. Bye"}'
    by_header = refusal(429, "30", b"", 1_000 * SECOND)
    by_text = refusal(418, None, stated, 1_000 * SECOND)
    unsaid = refusal(403, None, b"<html>", 1_000 * SECOND)
    assert [error.until for error in (by_header, by_text, unsaid) if isinstance(error, RateLimited)] == [
        1_030.0,
        1_785_050_129.644,
        None,
    ]


def test_an_error_in_a_good_answer_is_an_error() -> None:
    assert isinstance(refusal(200, None, b'{"code":-1121,"msg":"Invalid symbol."}', 0), SymbolUnknown)
    assert isinstance(refusal(400, None, b'{"code":-1007,"msg":"Timeout"}', 0), Transient)


def test_an_outage_is_tried_again_and_passes(server: AnswerServer, recorded: bytes) -> None:
    server.answers = [Answer(b"<html>", 503), Answer(b"", 502), Answer(recorded)]
    assert len(source(server).closed_bars(BTC, START, LATER).events) == 60
    assert len(server.asked) == TRIES


def test_a_dead_host_is_transient() -> None:
    with serving() as gone:
        pass
    with pytest.raises(Transient):
        source(gone).closed_bars(BTC, START, LATER)


def test_the_servers_clock_holds_a_fast_host_clock_back(server: AnswerServer) -> None:
    server.answers = [Answer(body(kline(START)), headers={"Date": "Wed, 06 May 2020 04:42:59 GMT"})]
    assert source(server).closed_bars(BTC, START, LATER).dropped == {"still open": 1}
    server.answers = [Answer(body(kline(START)), headers={"Date": "Wed, 06 May 2020 04:43:00 GMT"})]
    assert len(source(server).closed_bars(BTC, START, LATER).events) == 1


def test_pages_go_forward_from_the_last_bar_until_a_page_is_short(server: AnswerServer) -> None:
    late = START + 10_000 * MINUTE_US
    pages = [[kline(START + (1_000 * page + row) * MINUTE_US) for row in range(PAGE_ROWS)] for page in range(2)]
    server.answers = [Answer(body(*pages[0])), Answer(body(*pages[1])), Answer(b"[]")]
    result = source(server, late).closed_bars(BTC, START, late)
    assert len(result.events) == 2 * PAGE_ROWS
    assert [int(query["startTime"]) for _, query in server.asked] == [
        (START + 1_000 * page * MINUTE_US) // 1_000 for page in range(3)
    ]


def test_a_batch_asks_for_a_few_pages_only(server: AnswerServer) -> None:
    late = START + 10_000 * MINUTE_US
    server.answers = [Answer(body(*(kline(START + row * MINUTE_US) for row in range(PAGE_ROWS))))]
    source(server, late).closed_bars(BTC, START, late)
    assert len(server.asked) == MAX_PAGES


def test_quotes_of_many_pairs_are_one_request(server: AnswerServer, shared_data: Path) -> None:
    server.answers = [Answer((shared_data / "responses/binance/ticker_24hr_two_symbols.json").read_bytes())]
    assert len(source(server).quotes([BTC, ETH], LATER).events) == 2
    assert server.asked == [("/api/v3/ticker/24hr", {"symbols": '["BTCUSDT","ETHUSDT"]'})]


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_a_spoilt_body_raises_nothing_but_a_source_error(data: st.DataObject) -> None:
    spoilt = bytearray(body(*(kline(START + row * MINUTE_US) for row in range(3))))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(spoilt) - 1))
        spoilt[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3) | st.just(b"9e99"))
    try:
        result = parse_klines(bytes(spoilt), BTC, LATER, 0)
    except SourceError:
        return
    assert all(decode(encode(event)) == event for event in result.events)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=40) | st.just(b"429"), st.integers(100, 599), st.text(max_size=8) | st.none())
def test_any_answer_is_good_or_a_source_error(answer: bytes, status: int, retry_after: str | None) -> None:
    error = refusal(status, retry_after, answer, LATER)
    assert error is None if status == 200 else isinstance(error, SourceError)
