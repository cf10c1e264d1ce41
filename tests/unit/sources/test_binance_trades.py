"""Trades of Binance: frames of its websocket and pages of its REST, recorded and as documented."""

from __future__ import annotations

import json
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.errors import BadPayload, SymbolUnknown
from include.market.event import MICROSECONDS, reason_invalid
from include.market.instrument import Instrument
from include.sources import binance
from include.sources.base import Answer
from include.sources.binance_trades import (
    PAGE_ROWS,
    newest_question,
    read_frame,
    read_trades,
    rejected_id,
    stream_url,
    trade_id,
    trades_question,
)

NOW = 1_628_952_400 * MICROSECONDS
BITCOIN = Instrument("BTC-USD", "crypto", "Bitcoin", {"binance": "BTCUSDT"})
ETHER = Instrument("ETH-USD", "crypto", "Ethereum", {"binance": "ETHUSDT"})
BY_PAIR = {"BTCUSDT": BITCOIN, "ETHUSDT": ETHER}


def frame(**changes: Any) -> dict[str, Any]:
    row = {"e": "aggTrade", "E": 1628952396573, "s": "BTCUSDT", "a": 31718372, "p": "0.33993000", "q": "99.9"}
    return row | {"f": 38248910, "l": 38248911, "T": 1628952396572, "m": True, "M": True} | changes


def row(number: int, **changes: Any) -> dict[str, Any]:
    held = {"a": number, "p": "100.5", "q": "0.25", "f": number, "l": number, "T": 1628952396572 + number}
    return held | {"m": False, "M": True} | changes


def page(*rows: Any) -> Answer:
    return Answer(200, {}, json.dumps(rows).encode())


def test_one_combined_stream_in_lower_case_serves_all_instruments() -> None:
    url = stream_url("ws://127.0.0.1:8070/binance/stream/", [BITCOIN, ETHER])
    assert url == "ws://127.0.0.1:8070/binance/stream/stream?streams=btcusdt@aggTrade/ethusdt@aggTrade"
    with pytest.raises(SymbolUnknown, match="AAPL"):
        stream_url("wss://x", [Instrument("AAPL", "stock", "Apple", {})])


@pytest.mark.parametrize("is_wrapped", [True, False])
@pytest.mark.parametrize("is_text", [True, False])
def test_a_trade_is_an_event_with_the_venues_id_and_exact_figures(is_wrapped: bool, is_text: bool) -> None:
    document = {"stream": "btcusdt@aggTrade", "data": frame()} if is_wrapped else frame()
    raw = json.dumps(document)
    (event,) = read_frame(raw if is_text else raw.encode(), BY_PAIR, NOW).events
    assert (event.event_id, event.kind, event.event_time) == (
        "binance:BTC-USD:trade:31718372",
        "trade",
        1628952396572000,
    )
    assert (event.open, event.low, event.volume) == (Decimal("0.33993"), Decimal("0.33993"), Decimal("99.9"))
    assert (event.currency, event.interval_seconds, trade_id(event)) == ("USDT", 0, 31718372)
    assert reason_invalid(event, NOW) is None


@pytest.mark.parametrize(
    ("raw", "control"),
    [
        ('{"result":null,"id":1}', "acknowledged"),
        ('{"result":null,"id":"a"}', "acknowledged"),
        ('{"e":"serverShutdown","E":1770123456789}', "shutdown"),
        ('{"stream":"x","data":{"e":"serverShutdown","E":1770123456789}}', "shutdown"),
        ('{"e":"kline","E":1,"s":"BTCUSDT","k":{}}', "ignored"),
        ('{"e":"trade","E":1,"s":"BTCUSDT","t":1,"p":"1","q":"1","T":1628952396572}', "ignored"),
        (json.dumps(frame(s="XMRBTC")), "ignored"),
    ],
)
def test_what_is_no_trade_of_ours_is_named(raw: str, control: str) -> None:
    found = read_frame(raw, BY_PAIR, NOW)
    assert (found.control, found.events, found.rejected) == (control, [], [])


@pytest.mark.parametrize(
    "changes",
    [
        {"p": 0.33},
        {"p": "NaN"},
        {"p": "1e999"},
        {"p": ""},
        {"q": True},
        {"a": "31718372"},
        {"a": -1},
        {"a": 1.5},
        {"T": 1628952396},
        {"T": 1628952396572000000},
        {"T": "1628952396572"},
    ],
)
def test_a_frame_that_is_not_as_documented_is_refused_and_kept(changes: dict[str, Any]) -> None:
    raw = json.dumps(frame(**changes))
    (rejected,) = read_frame(raw, BY_PAIR, NOW).rejected
    assert rejected.raw == f"[{raw}]".encode()
    assert rejected.asked_for == "trade"


@pytest.mark.parametrize(
    "raw",
    [
        "",
        "{",
        "null",
        "<html>",
        b"\xff\xfe",
        '{"stream":"a","data":',
        '{"stream":"a","data":[1]}',
        json.dumps(frame())[:-1] + ',"a":5}',
        "[" * 100_000,
        '{"e":"' + "x" * 70_000 + '"}',
    ],
)
def test_a_message_that_is_no_json_of_this_stream_is_refused(raw: str | bytes) -> None:
    found = read_frame(raw, BY_PAIR, NOW)
    assert len(found.rejected) == 1
    assert len(found.rejected[0].raw) < 5_000


@given(st.one_of(st.text(), st.binary(), st.recursive(st.none() | st.integers(), st.lists).map(json.dumps)))
def test_no_message_raises(raw: str | bytes) -> None:
    read_frame(raw, BY_PAIR, NOW)


@given(st.integers(0, 10_000), st.integers(0, 255))
def test_a_byte_that_changed_gives_a_valid_trade_of_the_pair_or_none(place: int, byte: int) -> None:
    raw = bytearray(json.dumps({"stream": "btcusdt@aggTrade", "data": frame()}).encode())
    raw[place % len(raw)] = byte
    for event in read_frame(bytes(raw), BY_PAIR, NOW).events:
        assert event.symbol in {"BTC-USD", "ETH-USD"}
        assert str(trade_id(event)).encode() in raw


@pytest.mark.parametrize(("name", "trades"), [("spot_20210814", 28), ("us_spot_20211012", 11)])
def test_recorded_messages_give_their_trades(
    shared_data: Path, monkeypatch: pytest.MonkeyPatch, name: str, trades: int
) -> None:
    lines = (shared_data / "responses" / "binance" / f"ws_capture_{name}.jsonl").read_text().splitlines()
    messages = [json.loads(line) for line in lines]
    pairs = {json.loads(message["raw"])["data"]["s"] for message in messages if "aggTrade" in message["raw"]}
    for pair in pairs:
        monkeypatch.setitem(binance.QUOTE_ASSETS, pair, "USDT")
    by_pair = {pair: Instrument(pair, "crypto", pair, {"binance": pair}) for pair in pairs}
    controls: Counter[str] = Counter()
    ids: dict[str, list[int]] = {pair: [] for pair in pairs}
    for message in messages:
        received_us = int(message["received_at"] * MICROSECONDS)
        found = read_frame(message["raw"], by_pair, received_us)
        controls[found.control] += 1
        assert found.rejected == []
        for event in found.events:
            assert reason_invalid(event, received_us) is None
            ids[event.symbol].append(trade_id(event))
    assert controls[""] == trades
    assert controls["ignored"] == len(messages) - trades
    for held in ids.values():
        assert held == list(range(held[0], held[0] + len(held))), "ids have no gaps"


def test_questions_ask_from_an_id_on_or_for_the_newest() -> None:
    question = trades_question(BITCOIN, 5, 20)
    assert (question.path, question.cost) == ("/api/v3/aggTrades", 4)
    assert question.params == {"symbol": "BTCUSDT", "fromId": "5", "limit": "20"}
    assert newest_question(BITCOIN).params == {"symbol": "BTCUSDT", "limit": "1"}


def test_a_page_gives_its_trades_and_a_whole_one_asks_for_the_next() -> None:
    short = read_trades(trades_question(BITCOIN, 5), page(row(5), row(6)), NOW)
    assert [trade_id(event) for event in short.events] == [5, 6]
    assert short.more is None
    whole = read_trades(trades_question(BITCOIN, 5), page(*map(row, range(5, 5 + PAGE_ROWS))), NOW)
    assert whole.more is not None
    assert whole.more.params["fromId"] == str(5 + PAGE_ROWS)
    assert read_trades(newest_question(BITCOIN), page(), NOW).events == []


def test_a_bad_row_is_refused_alone_with_its_id_and_can_be_read_again() -> None:
    question = trades_question(BITCOIN, 5)
    result = read_trades(question, page(row(5), row(6, p="NaN"), row(7)), NOW)
    assert [trade_id(event) for event in result.events] == [5, 7]
    (rejected,) = result.rejected
    assert rejected_id(rejected) == 6
    assert len(read_trades(question, Answer(200, {}, rejected.raw), NOW).rejected) == 1


@pytest.mark.parametrize("body", [b"", b"{}", b"<html></html>", b'[{"a":5}', b"[1,2]", b'[{"p":"1"}]'])
def test_a_body_without_trades_is_a_bad_payload(body: bytes) -> None:
    with pytest.raises(BadPayload):
        read_trades(trades_question(BITCOIN, 5), Answer(200, {}, body), NOW)


def test_the_source_reads_pages_of_trades() -> None:
    result = binance.BinanceSource().read(trades_question(BITCOIN, 5), page(row(5)), NOW)
    assert [event.event_id for event in result.events] == ["binance:BTC-USD:trade:5"]
