"""Which source is asked for the past, what is taken of its answers, and what is said where there is none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from decimal import Decimal

import msgspec
import pytest
from tenacity import Retrying, stop_after_attempt

from include.errors import BadPayload, EmptyRange, RateLimited, SourceError, SymbolUnknown, Transient
from include.market.corporate_action import CorporateAction
from include.market.instrument import Instrument
from include.producers.failover import Candidate
from include.producers.history import Cost, CountingGate, History
from include.producers.publisher import ListPublisher
from include.sources.base import MINUTE_BARS, MINUTE_US, FetchResult
from include.sources.client import SourceClient
from include.sources.gate import OpenGate
from tests.unit.producers.told import IBM, MINUTE, NOW, Told, ToldSource, Wire, a_bar, a_quote

START = MINUTE - 60 * MINUTE_US
MINUTES = [START + number * MINUTE_US for number in range(60)]


class Traded:
    """Minutes whose trades are published."""

    def __init__(self, *minutes: int) -> None:
        self.minutes = set(minutes)

    def first_free(self, symbol: str, start_us: int) -> int | None:
        return start_us + MINUTE_US if start_us in self.minutes else start_us


def history(publisher: ListPublisher, *sources: ToldSource, traded: Sequence[int] = ()) -> History:
    gate = CountingGate(OpenGate())
    once = Retrying(stop=stop_after_attempt(1), reraise=True)
    candidates = []
    for source in sources:
        capability = source.declaration.offers("stock", MINUTE_BARS)
        assert capability is not None
        candidates.append(Candidate(SourceClient(source, "http://told", Wire(), gate, once, lambda: NOW), capability))
    return History(candidates, publisher, Traded(*traded), gate, lambda: NOW)


def told(yahoo: Told, alpha_vantage: Told) -> tuple[ToldSource, ToldSource]:
    return (
        ToldSource("yahoo", {"bar60": {"IBM": yahoo}}),
        ToldSource("alpha_vantage", {"bar60": {"IBM": alpha_vantage}}),
    )


def bars(*minutes: int, source: str = "yahoo") -> list[object]:
    return [a_bar("IBM", MINUTES[number], source=source) for number in minutes]  # type: ignore[arg-type]


@pytest.fixture
def publisher() -> ListPublisher:
    return ListPublisher()


def test_the_first_source_that_has_bars_gives_them(publisher: ListPublisher) -> None:
    first, second = told(bars(*range(10)), bars(*range(60), source="alpha_vantage"))  # type: ignore[arg-type]
    found = history(publisher, first, second).fetch(IBM, START, MINUTE)
    assert [bar.event_time for bar in found.bars] == MINUTES[:10]
    assert (found.sources, found.calls, found.is_whole, found.reason) == (("yahoo",), 1, True, "")
    assert second.asked == []


@pytest.mark.parametrize(
    ("failure", "answered"),
    [(Transient("down"), False), (RateLimited("later"), False), (EmptyRange("nothing there"), True)],
)
def test_the_next_one_is_asked_where_the_first_has_none(
    publisher: ListPublisher, failure: SourceError, answered: bool
) -> None:
    sources = told(failure, bars(3, source="alpha_vantage"))  # type: ignore[arg-type]
    found = history(publisher, *sources).fetch(IBM, START, MINUTE)
    assert [bar.source for bar in found.bars] == ["alpha_vantage"]
    assert found.sources == (("yahoo", "alpha_vantage") if answered else ("alpha_vantage",))
    assert str(failure) in found.reason
    assert found.calls == 2


def test_a_hole_of_minutes_that_are_wanted_is_asked_of_the_next_one_too(publisher: ListPublisher) -> None:
    sources = told(bars(0, 1, 2), bars(*range(60), source="alpha_vantage"))  # type: ignore[arg-type]
    found = history(publisher, *sources).fetch(IBM, START, MINUTE, wanted=MINUTES[:20])
    assert len(found.bars) == 60
    assert [bar.source for bar in found.bars][:4] == ["yahoo"] * 3 + ["alpha_vantage"]
    few = history(publisher, *told(bars(0, 1, 2), bars(9))).fetch(IBM, START, MINUTE, wanted=MINUTES[:7])  # type: ignore[arg-type]
    assert few.sources == ("yahoo",), "four minutes without a bar are minutes without a trade"


def test_where_nobody_answers_it_is_said_why(publisher: ListPublisher) -> None:
    found = history(publisher, *told(Transient("down"), RateLimited("later"))).fetch(IBM, START, MINUTE)
    assert (found.bars, found.sources, found.is_whole, found.is_unknown) == ((), (), False, False)
    assert found.reason == "yahoo: Transient: down; alpha_vantage: RateLimited: later"


def test_a_symbol_that_nobody_knows_is_said_to_be_so(publisher: ListPublisher) -> None:
    stranger = Instrument("XX", "stock", "Nobody", {"yahoo": "XX"})
    sources = ToldSource("yahoo", {"bar60": {"XX": SymbolUnknown("no XX")}}), told([], [])[1]
    found = history(publisher, *sources).fetch(stranger, START, MINUTE)
    assert found.is_unknown
    assert found.reason == "no XX; XX has no alpha_vantage id"


def test_only_valid_bars_of_the_span_are_taken(publisher: ListPublisher) -> None:
    wrong = msgspec.structs.replace(a_bar("IBM", MINUTES[5]), low=Decimal(3))
    answer = [a_bar("IBM", START - MINUTE_US), *bars(3, 4), wrong, a_bar("IBM", MINUTE), a_quote("IBM", MINUTES[7])]
    found = history(publisher, *told(answer, []), traded=[MINUTES[4]]).fetch(IBM, START, MINUTE)  # type: ignore[arg-type]
    assert [bar.event_time for bar in found.bars] == [MINUTES[3]]
    assert (found.left, found.refused) == (1, 1)
    assert [letter["reason"] for letter in publisher.dead_letters] == ["low <= open, close <= high does not hold"]


def test_an_answer_that_is_none_goes_to_the_dead_letters(publisher: ListPublisher) -> None:
    found = history(publisher, *told(BadPayload("no JSON", b"<html>"), [])).fetch(IBM, START, MINUTE)
    assert (found.refused, found.sources) == (1, ("alpha_vantage",))
    assert len(publisher.dead_letters) == 1


def test_what_did_not_come_whole_proves_nothing(publisher: ListPublisher) -> None:
    part = FetchResult(bars(3))  # type: ignore[arg-type]
    part.dropped["the rest did not come: Transient"] += 1
    found = history(publisher, *told(part, [])).fetch(IBM, START, MINUTE)
    assert (len(found.bars), found.is_whole) == (1, False)


def test_the_cost_is_that_of_the_source_that_is_asked_first(publisher: ListPublisher) -> None:
    first, second = told([], [])
    day_us = 1_440 * MINUTE_US
    assert history(publisher, first, second).cost(IBM, START, START + day_us) == Cost("yahoo", 1, 1)
    coins = history(publisher, ToldSource("binance", {"bar60": {}}))
    (candidate,) = coins._candidates
    coins._candidates = [replace(candidate, capability=replace(candidate.capability, rows=1_000))]
    coin = Instrument("BTC-USD", "crypto", "Bitcoin", {"binance": "BTCUSDT"})
    assert coins.cost(coin, START, START + day_us) == Cost("binance", 2, 2)
    assert coins.cost(IBM, START, MINUTE) is None


def test_what_no_source_keeps_is_not_asked_for(publisher: ListPublisher) -> None:
    first, _ = told(bars(3), [])
    asked = history(publisher, first)
    (candidate,) = asked._candidates
    asked._candidates = [replace(candidate, capability=replace(candidate.capability, depth_us=30 * 60 * 1_000_000))]
    old = asked.fetch(IBM, START - 60 * MINUTE_US, START)
    assert (old.sources, old.is_too_old, old.calls) == ((), True, 0)
    assert "yahoo keeps minutes for no longer than" in old.reason
    part = asked.fetch(IBM, START, MINUTE)
    assert (part.sources, part.is_whole, part.is_too_old) == (("yahoo",), False, False)
    assert first.asked[0][2] > START


def test_a_source_that_failed_leaves_it_open_whether_there_is_none(publisher: ListPublisher) -> None:
    found = history(publisher, *told([], RateLimited("later"))).fetch(IBM, START, MINUTE)
    assert (found.sources, found.is_whole) == (("yahoo",), False)


def test_splits_are_told_by_who_tells_of_such_and_by_nobody_else(publisher: ListPublisher) -> None:
    split = CorporateAction("IBM", "split", date(2014, 6, 9), "yahoo", NOW, Decimal(7), Decimal(1))
    teller = ToldSource("yahoo", {"bar60": {}, "action": {"IBM": FetchResult(actions=[split])}})
    assert history(publisher, told([], [])[1], teller).actions(IBM, START) == [split]
    assert history(publisher, told([], [])[1]).actions(IBM, START) is None, "not: there are none"
