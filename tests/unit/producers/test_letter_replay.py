"""A dead letter judged again: by the rules of the event, and by the real parsers of its source."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from include.errors import BadPayload
from include.market.event import encode
from include.producers.dead_letters import DeadLetter, LetterFilter
from include.producers.letter_replay import Replay, StillBad
from include.settings import Settings
from include.sources.base import MINUTE_US
from include.sources.catalogue import catalogue
from include.sources.registry import build_source
from tests.unit.producers.told import a_bar

MINUTE = 1_588_740_060_000_000
KLINE = (
    b'[[1588740060000,"9315.19000000","9322.47000000","9315.18000000","9320.15000000","43.51100500",'
    b'1588740119999,"405493.52143000",473,"22.74110600","211931.06540700","0"]]'
)


def letter(raw: bytes, asked_for: str = "event", **changes: object) -> DeadLetter:
    facts: dict[str, object] = {
        "coordinates": ("market.events.dlq.v1", 0, 7),
        "at": datetime(2026, 1, 1, tzinfo=UTC),
        "source": "binance",
        "symbol": "BTC-USD",
        "reason": "row: short",
        "asked_for": asked_for,
        "raw": raw,
        "raw_bytes": len(raw),
        **changes,
    }
    return DeadLetter(**facts)  # type: ignore[arg-type]


def replay(now_us: int = MINUTE + 2 * MINUTE_US) -> Replay:
    return Replay(lambda name: build_source(name, Settings()), catalogue(), now_us)  # type: ignore[arg-type]


def test_an_event_that_came_too_early_is_valid_when_its_time_has_come() -> None:
    event = a_bar("AAPL", start=MINUTE)
    early = letter(encode(event))
    assert replay(MINUTE).events(early) == ([event], 0)
    with pytest.raises(StillBad, match="lies in the future"):
        replay(MINUTE - MINUTE_US).events(early)


def test_a_body_is_read_by_todays_parser_of_its_source() -> None:
    ((event,), left) = replay().events(letter(KLINE, "bar60"))
    assert (event.event_id, str(event.close), left) == (f"binance:BTC-USD:bar60:{MINUTE}", "9320.15000000", 0)


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (letter(b'{"event_id": 1}'), "missing|Expected"),
        (letter(b"\xff\xfe"), "JSON|UTF-8|utf-8"),
        (letter(b"<html>", "bar60"), BadPayload.__name__),
        (letter(b"[]", "bar60"), "no fact|EmptyRange"),
        (letter(KLINE, "bar60", symbol="NOSUCH"), "NOSUCH has no binance id"),
        (letter(KLINE, "bar60", source="reuters"), "reuters is no source of ours"),
        (letter(KLINE, ""), "does not say what was asked for"),
        (letter(KLINE, "bar60", raw_bytes=300_000), f"only {len(KLINE)} of 300000 bytes were kept"),
    ],
)
def test_what_is_still_bad_says_why(bad: DeadLetter, why: str) -> None:
    with pytest.raises(StillBad, match=why):
        replay().events(bad)


def test_a_filter_goes_by_source_symbol_and_a_part_of_the_reason() -> None:
    found = letter(KLINE)
    assert LetterFilter().takes(found)
    assert LetterFilter("binance", "BTC-USD", "SHORT").takes(found)
    for other in (LetterFilter(source="yahoo"), LetterFilter(symbol="AAPL"), LetterFilter(reason="long")):
        assert not other.takes(found)
