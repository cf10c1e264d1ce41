"""The client over real sockets: a source, a transport and a gate put together."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace

import pytest
from tenacity import wait_none

from include.errors import BadPayload, Banned, SourceError, Transient
from include.market.event import Source
from include.sources.base import MINUTE_BARS, MINUTE_US, Question, Want
from include.sources.binance import PAGE_ROWS, BinanceSource
from include.sources.catalogue import catalogue
from include.sources.client import SourceClient
from include.sources.gate import OpenGate
from include.sources.http import HttpTransport
from include.sources.retry import TRIES, retrying
from tests.unit.sources.answers import Answer, AnswerServer

BTC = catalogue().get("BTC-USD")
START = 1_588_740_120_000_000
LATER = START + 5_000 * MINUTE_US
(QUESTION,) = BinanceSource().questions(MINUTE_BARS, [BTC], {"BTC-USD": START}, LATER)


class TellingGate(OpenGate):
    """Remembers what it was asked and told."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[tuple[object, ...]] = []

    def admit(self, source: Source, want: Want, cost: int, now_us: int) -> None:
        self.told.append(("admit", cost))
        super().admit(source, want, cost, now_us)

    def succeeded(self, source: Source, now_us: int, used: int | None = None) -> None:
        self.told.append(("succeeded", used))
        super().succeeded(source, now_us, used)

    def failed(self, source: Source, want: Want, error: SourceError, now_us: int) -> None:
        self.told.append(("failed", type(error).__name__))
        super().failed(source, want, error, now_us)


@pytest.fixture
def gate() -> TellingGate:
    return TellingGate()


@pytest.fixture
def client(server: AnswerServer, gate: TellingGate) -> Iterator[SourceClient]:
    retry = retrying(sleep=lambda _: None, wait=wait_none())
    client = SourceClient(BinanceSource(), f"{server.url}/", HttpTransport(), gate, retry, lambda: LATER)
    yield client
    client.close()


def page(first: int, rows: int) -> Answer:
    start_ms = START // 1_000 + first * 60_000
    stamps = range(start_ms, start_ms + rows * 60_000, 60_000)
    klines = [[ms, "2", "3", "1", "2", "5", ms + 59_999, "1", 1, "1", "1", "0"] for ms in stamps]
    return Answer(json.dumps(klines).encode(), headers={"X-MBX-USED-WEIGHT-1M": str(first + rows)})


def test_each_request_is_admitted_and_its_success_told_with_what_was_used(
    client: SourceClient, gate: TellingGate, server: AnswerServer
) -> None:
    server.answers = [page(0, PAGE_ROWS), page(PAGE_ROWS, 1)]
    assert len(client.fetch(QUESTION).events) == PAGE_ROWS + 1
    assert gate.told == [("admit", 2), ("succeeded", 1_000), ("admit", 2), ("succeeded", 1_001)]


def test_each_try_is_admitted_and_one_failure_told(
    client: SourceClient, gate: TellingGate, server: AnswerServer
) -> None:
    server.answers = [Answer(b"", 503)]
    with pytest.raises(Transient):
        client.fetch(QUESTION)
    assert len(server.asked) == TRIES
    assert gate.told == [*([("admit", 2)] * TRIES), ("failed", "Transient")]


def test_a_bad_body_is_a_failure_and_not_asked_for_again(
    client: SourceClient, gate: TellingGate, server: AnswerServer
) -> None:
    server.answers = [Answer(b"<html>hello</html>")]
    with pytest.raises(BadPayload) as caught:
        client.fetch(QUESTION)
    assert caught.value.payload == b"<html>hello</html>"
    assert gate.told == [("admit", 2), ("failed", "BadPayload")]


def test_while_banned_nothing_is_asked(client: SourceClient, gate: TellingGate, server: AnswerServer) -> None:
    server.answers = [Answer(b"", 418, {"Retry-After": "120"})]
    untils = []
    for _ in range(3):
        with pytest.raises(Banned) as caught:
            client.fetch(QUESTION)
        untils.append(caught.value.until)
    assert len(server.asked) == 1
    assert untils == [LATER / 1e6 + 120] * 3
    assert gate.told.count(("failed", "Banned")) == 1


def test_what_has_come_is_kept_when_the_rest_does_not(client: SourceClient, server: AnswerServer) -> None:
    server.answers = [page(0, PAGE_ROWS), Answer(b"", 403)]
    result = client.fetch(QUESTION)
    assert len(result.events) == PAGE_ROWS
    assert result.more is not None
    assert result.more.since_us == START + PAGE_ROWS * MINUTE_US
    assert result.dropped == {"the rest did not come: Banned": 1}


def test_secrets_are_sent_and_not_shown(client: SourceClient, server: AnswerServer) -> None:
    server.answers = [page(0, 1)]
    question: Question = replace(QUESTION, secret_params={"apikey": "k-1"}, secret_headers={"x-key": "h-2"})
    client.fetch(question)
    assert (server.asked[0][1]["apikey"], server.headers["x-key"]) == ("k-1", "h-2")
    assert "k-1" not in repr(question)
    assert "h-2" not in repr(question)
