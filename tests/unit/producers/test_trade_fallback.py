"""Prices of another source while trades cannot be had."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

import msgspec
import pytest
from tenacity import Retrying, stop_after_attempt

from include.errors import SourceError, Transient
from include.market.event import MICROSECONDS, quote
from include.market.instrument import Instrument
from include.producers.failover import Candidate, MemorySwitchboard
from include.producers.trade_fallback import QuoteFallback
from include.sources.base import QUOTES, Answer, Capability, Declaration, FetchResult, Question
from include.sources.client import SourceClient
from include.sources.gate import OpenGate

NOW = 1_700_000_000 * MICROSECONDS
BITCOIN = Instrument("BTC-USD", "crypto", "Bitcoin", {"binance": "BTCUSDT", "coingecko": "bitcoin"})
ETHER = Instrument("ETH-USD", "crypto", "Ethereum", {"binance": "ETHUSDT"})


class Index:
    """A source whose price is a number in its body, at a time in its body."""

    plan = ""

    def __init__(self, name: str) -> None:
        self.capability = Capability(QUOTES, "crypto", batch=50)
        self.declaration = Declaration(name=name, capabilities=(self.capability,), rates=())  # type: ignore[arg-type]

    def questions(self, want: object, instruments: list[Instrument], since: object, now: int) -> list[Question]:
        return [Question(QUOTES, tuple(instruments), "/price", {})]

    def refusal(self, answer: Answer, now_us: int) -> SourceError | None:
        return None

    def read(self, question: Question, answer: Answer, now_us: int) -> FetchResult:
        price, time = msgspec.json.decode(answer.body)
        events = [
            quote(
                symbol=instrument.symbol,
                asset_class="crypto",
                source=self.declaration.name,
                time=time,
                price=Decimal(price),
                currency="USD",
                ingested_at=now_us,
            )
            for instrument in question.instruments
        ]
        return FetchResult(events)

    def used(self, answer: Answer) -> int | None:
        return None


class Wire:
    """Gives one body, or fails."""

    body: bytes | None = None

    def get(self, url: str, params: Mapping[str, str], headers: Mapping[str, str]) -> Answer:
        if self.body is None:
            raise Transient("no answer")
        return Answer(200, {}, self.body)

    def close(self) -> None:
        """Nothing to close."""


def candidate(name: str) -> tuple[Candidate, Wire]:
    source, wire = Index(name), Wire()
    once = Retrying(stop=stop_after_attempt(1), reraise=True)
    client = SourceClient(source, "http://x", wire, OpenGate(), once, lambda: NOW)  # type: ignore[arg-type]
    return Candidate(client, source.capability), wire


def test_the_next_source_that_answers_serves_and_each_switch_is_recorded_once() -> None:
    (first, _), (second, wire) = candidate("yahoo"), candidate("coingecko")
    board = MemorySwitchboard()
    fallback = QuoteFallback("binance", [first, second], [BITCOIN, ETHER], board)
    wire.body = b"[100,1699999990000000]"
    # Ether has no name there: it is not asked for.
    assert [event.symbol for event in fallback.poll(NOW, "silent").events] == ["BTC-USD"]
    assert fallback.poll(NOW, "silent").events == [], "the same price is not said twice"
    wire.body = b"[101,1699999995000000]"
    assert [event.close for event in fallback.poll(NOW, "silent").events] == [Decimal(101)]
    fallback.restored(NOW)
    fallback.restored(NOW)
    assert [(s.want, s.from_source, s.to_source, s.reason) for s in board.switches] == [
        ("trade", "binance", "coingecko", "silent"),
        ("trade", "coingecko", "binance", "recovered"),
    ]


def test_without_any_answer_nothing_is_switched() -> None:
    board = MemorySwitchboard()
    with pytest.raises(Transient):
        QuoteFallback("binance", [candidate("coingecko")[0]], [BITCOIN], board).poll(NOW, "silent")
    assert board.switches == []


def test_a_new_process_knows_that_another_source_served() -> None:
    board = MemorySwitchboard()
    board.record("crypto", "trade", "binance", "coingecko", "silent")
    QuoteFallback("binance", [], [BITCOIN], board).restored(NOW)
    assert board.active("crypto", "trade") == "binance"
