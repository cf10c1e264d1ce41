"""Spoilt bodies by the ten thousand: what comes out is a fact that stands in the body, or a SourceError.

A new source is one line in SUBJECTS.
"""

from __future__ import annotations

import json
import random
import re
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from include.errors import SourceError
from include.market.event import MarketEvent, reason_invalid
from include.sources.alpha_vantage import AlphaVantageSource
from include.sources.base import (
    MINUTE_BARS,
    MINUTE_US,
    QUOTES,
    Answer,
    FetchResult,
    PriceSource,
    Question,
    Want,
)
from include.sources.binance import BinanceSource
from include.sources.binance_trades import read_frame, trades_question
from include.sources.catalogue import catalogue
from include.sources.coingecko import CoinGeckoSource
from include.sources.yahoo import YahooSource

MUTATIONS = 5_000
SEED = 20131008
SLOWEST_SECONDS = 1.0
MANY = 50


@dataclass(frozen=True)
class Subject:
    """A source, what it was asked, when, and the answers that are spoilt: recorded files, written bodies."""

    source: PriceSource
    question: Question
    now_us: int
    files: tuple[str | bytes, ...]

    def __str__(self) -> str:
        return f"{self.source.declaration.name}-{self.question.want.name}"

    def read(self, body: bytes, status: int = 200, **headers: str) -> FetchResult:
        """As the client does it. Raises the SourceError tree."""
        answer = Answer(status, headers, body)
        refused = self.source.refusal(answer, self.now_us)
        if refused is not None:
            raise refused
        self.source.used(answer)
        return self.source.read(self.question, answer, self.now_us)


def subject(source: PriceSource, want: Want, symbols: Sequence[str], now: int, *files: str | bytes) -> Subject:
    """`now` in epoch seconds; the last six days are asked for; `files` are patterns under responses/, or
    bodies where nothing was recorded that answers a question of ours."""
    instruments = [catalogue().get(symbol) for symbol in symbols]
    since_us = dict.fromkeys(symbols, now * 1_000_000 - 6 * 24 * 60 * MINUTE_US)
    (question,) = source.questions(want, instruments, since_us, now * 1_000_000)
    return Subject(source, question, now * 1_000_000, files)


#: Without the calendar, which takes seconds to load.
ALPHA_VANTAGE = AlphaVantageSource("SECRET7KEY", "realtime", session_close=lambda day: None)
COINS = (
    b'{"bitcoin":{"usd":67187.3358936566,"usd_24h_vol":31000000000.5,"last_updated_at":1711356300},'
    b'"ethereum":{"usd":3400,"last_updated_at":1711356293}}'
)
#: As `aggTrades` answers; what was recorded are single trades, which no question of ours asks for.
TRADED = (
    b'[{"a":26129,"p":"8702.16000000","q":"0.00443500","f":27781,"l":27781,"T":1588743709153,"m":true,"M":true},'
    b'{"a":26130,"p":"8702.20000000","q":"1.50000000","f":27782,"l":27784,"T":1588743709160,"m":false,"M":true}]'
)
BITCOIN = catalogue().get("BTC-USD")
SUBJECTS = (
    subject(YahooSource(), MINUTE_BARS, ["AAPL"], 1_727_986_000, "yahoo/chart_AAPL_1m_*", "yahoo/error_*"),
    subject(YahooSource(), QUOTES, ["AAPL"], 1_727_986_000, "yahoo/chart_AAPL_1m_*"),
    subject(BinanceSource(), MINUTE_BARS, ["BTC-USD"], 1_588_744_000, "binance/klines_*_1m_*", "binance/error_*"),
    subject(BinanceSource(), QUOTES, ["BTC-USD", "ETH-USD"], 1_730_439_020, "binance/ticker_24hr_two*"),
    subject(
        ALPHA_VANTAGE, MINUTE_BARS, ["MSFT"], 1_513_627_200, "alpha_vantage/intraday_MSFT*", "alpha_vantage/error_*"
    ),
    subject(
        ALPHA_VANTAGE, QUOTES, ["MSFT"], 1_538_827_200, "alpha_vantage/global_quote_MSFT*", "alpha_vantage/error_*"
    ),
    Subject(BinanceSource(), trades_question(BITCOIN, 26_129, 1_000), 1_588_743_710_000_000, (TRADED,)),
    subject(CoinGeckoSource(), QUOTES, ["BTC-USD", "ETH-USD"], 1_711_356_340, COINS, "coingecko/error_*"),
)

_NUMBER = re.compile(rb"-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|-?[0-9][0-9.eE+-]*|true|false|null|[\[\]{}:,]')
NASTY = (
    *(b"NaN", b"Infinity", b"-Infinity", b"1e999", b"1E-999999999", b"-1", b"0", b"-0", b"true", b"false", b"null"),
    *(b'""', b'"NaN"', b'"-"', b'"None"', b'"1_000"', b'" 1"', b"[]", b"{}", b"[[]]", b'{"a":1,"a":2}', b"1" * 60),
    *(b'"\xff"', b'"\\ud800"', b'"\\u0031"', b"<html>", b"\xef\xbb\xbf", b"\x00", b"1727875800000", b"1727875800"),
)


def shortened(document: Any) -> Any:
    """The first few of what is many, so that thousands can be read; parallel lists stay parallel."""
    few = slice(4 if hasattr(document, "__len__") and len(document) > MANY else None)
    if isinstance(document, list):
        return [shortened(item) for item in document[few]]
    if isinstance(document, dict):
        return {key: shortened(value) for key, value in list(document.items())[few]}
    return document


def bodies(subject: Subject, shared_data: Path) -> list[bytes]:
    found: list[bytes] = []
    for file in subject.files:
        paths = [] if isinstance(file, bytes) else sorted((shared_data / "responses").glob(file))
        found += [file] if isinstance(file, bytes) else [path.read_bytes() for path in paths]
    assert len(found) >= len(subject.files)
    return [
        json.dumps(shortened(json.loads(body)), separators=(",", ":")).encode() if body[:1] in b"[{" else body
        for body in found
    ]


def mutated(body: bytes, chance: random.Random) -> bytes:
    """One to three of: flip, delete, insert, cut, splice, other digits, other token, token twice."""
    spoilt = bytearray(body)
    for _ in range(chance.choice((1, 1, 1, 2, 3))):
        at = chance.randrange(len(spoilt) + 1)
        to = min(len(spoilt), at + chance.randint(1, 12))
        tokens = list(_TOKEN.finditer(spoilt))
        start, end = chance.choice(tokens).span() if tokens else (at, to)
        match chance.randrange(10):
            case 0 if at < len(spoilt):
                spoilt[at] ^= 1 << chance.randrange(8)
            case 1:
                del spoilt[at:to]
            case 2:
                spoilt[at:at] = chance.randbytes(chance.randint(1, 4))
            case 3 if chance.random() < 0.3:
                del spoilt[at:]
            case 4:
                source = chance.randrange(len(spoilt) + 1)
                spoilt[at:to] = spoilt[source : source + chance.randint(1, 40)]
            case 5 | 8 | 9:
                spoilt[start:end] = re.sub(rb"[0-9]", lambda _: b"%d" % chance.randrange(10), spoilt[start:end])
            case 6:
                spoilt[start:end] = chance.choice(NASTY)
            case _:
                spoilt[end:end] = spoilt[start:end]
    return bytes(spoilt)


def judge(subject: Subject, body: bytes, outcomes: Counter[str]) -> None:
    """Reads the body and what was rejected of it; fails for anything but good facts and SourceErrors."""
    begun = time.perf_counter()
    try:
        result = subject.read(body)
    except SourceError as error:
        outcomes[type(error).__name__] += 1
        return
    finally:
        assert time.perf_counter() - begun < SLOWEST_SECONDS
    good = [event for event in result.events if reason_invalid(event, subject.now_us) is None]
    outcomes["events"] += bool(good)
    outcomes["rejected"] += bool(result.rejected)
    for rejected in result.rejected:
        assert rejected.reason
        assert rejected.asked_for == subject.question.want.name
        try:
            subject.read(rejected.raw)
        except SourceError:
            outcomes["rejected again as a whole"] += 1
    assert {event.symbol for event in good} <= {instrument.symbol for instrument in subject.question.instruments}
    assert_figures_stand_in(body, good)


def assert_figures_stand_in(body: bytes, events: Sequence[MarketEvent]) -> None:
    """Each figure is a number of the body, rounded to the places that it has itself at most."""
    unescaped = re.sub(rb"\\u00([0-7][0-9a-fA-F])", lambda found: bytes.fromhex(found[1].decode()), body)
    numbers = {Decimal(text.decode()) for text in _NUMBER.findall(unescaped) if len(text) < 60}
    figures = {f for event in events for f in (event.open, event.high, event.low, event.close, event.volume) if f}
    rounded: dict[int, set[Decimal]] = {}
    for figure in figures - numbers:
        exponent = int(figure.as_tuple().exponent)
        if exponent not in rounded:
            places = Decimal((0, (1,), exponent))
            rounded[exponent] = {number.quantize(places) for number in numbers if abs(number.adjusted()) < 18}
        assert figure in rounded[exponent], (figure, body)


@pytest.mark.parametrize("subject", SUBJECTS, ids=str)
def test_a_spoilt_answer_gives_facts_of_its_own_or_a_source_error(subject: Subject, shared_data: Path) -> None:
    chance = random.Random(f"{SEED} {subject}")
    recorded = bodies(subject, shared_data)
    outcomes: Counter[str] = Counter()
    # Long bodies have more to spoil than refusals.
    for body in chance.choices(recorded, weights=[len(body) for body in recorded], k=MUTATIONS):
        judge(subject, mutated(body, chance), outcomes)
    # Not all of them are refused, and not all of them pass: the test sees both sides.
    assert outcomes["events"] > MUTATIONS / 20, outcomes
    assert outcomes["BadPayload"] > MUTATIONS / 20, outcomes


@pytest.mark.parametrize("subject", SUBJECTS, ids=str)
def test_the_recorded_answers_are_not_refused_unspoilt(subject: Subject, shared_data: Path) -> None:
    outcomes: Counter[str] = Counter()
    for body in bodies(subject, shared_data):
        judge(subject, body, outcomes)
    assert outcomes["events"] > 0
    assert outcomes["BadPayload"] == outcomes["rejected"] == 0


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["chart", "code", "status", "error", "a"]), inner)
    ),
    max_leaves=6,
)
_bodies = st.binary(max_size=40) | _json.map(lambda document: json.dumps(document).encode())


@pytest.mark.parametrize("subject", SUBJECTS, ids=str)
@settings(max_examples=60, deadline=None)
@given(body=_bodies, status=st.integers(100, 999), retry_after=st.text(max_size=8))
def test_any_answer_at_all_is_read_or_a_source_error(
    subject: Subject, body: bytes, status: int, retry_after: str
) -> None:
    headers = {"retry-after": retry_after, "date": retry_after, "x-mbx-used-weight-1m": retry_after}
    try:
        result = subject.read(body, status, **headers)
    except SourceError:
        return
    assert status == 200
    assert result.events == []


def test_a_spoilt_frame_gives_trades_of_its_own_or_is_refused() -> None:
    chance = random.Random(SEED)
    frame = (
        b'{"stream":"btcusdt@aggTrade","data":{"e":"aggTrade","E":1588743709154,"s":"BTCUSDT","a":26129,'
        b'"p":"8702.16000000","q":"0.00443500","f":27781,"l":27781,"T":1588743709153,"m":true,"M":true}}'
    )
    by_pair = {"BTCUSDT": BITCOIN}
    seen: Counter[str] = Counter()
    for _ in range(MUTATIONS):
        spoilt = mutated(frame, chance)
        found = read_frame(spoilt, by_pair, 1_588_743_710_000_000)
        for event in found.events:
            assert str(event.close).rstrip("0").rstrip(".").encode() in spoilt
            seen["trade"] += 1
        seen["refused"] += len(found.rejected)
    assert seen["trade"] > MUTATIONS // 20
    assert seen["refused"] > MUTATIONS // 4
