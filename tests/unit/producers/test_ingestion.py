"""The poll: what moves, what stops, what is kept; against sources that do as they are told."""

from __future__ import annotations

import pytest

from include.errors import (
    BadPayload,
    EmptyRange,
    PublishError,
    RateLimited,
    SourceError,
    SymbolUnknown,
    Transient,
)
from include.producers.publisher import ListPublisher
from include.sources.base import DAILY_BARS, END_OF_DAY, MINUTE_US, FetchResult, Rejected
from tests.unit.producers.told import AAPL, IBM, MINUTE, MSFT, NOW, Bench, ToldSource, a_bar, a_quote, yahoo


def test_the_first_poll_looks_back_and_the_next_starts_after_the_last_published_bar() -> None:
    source = yahoo({"AAPL": [a_bar("AAPL")]})
    bench = Bench([source])
    bench.poll(AAPL)
    bench.now += MINUTE_US
    bench.poll(AAPL)
    assert source.asked == [("bar60", "AAPL", MINUTE - 240 * MINUTE_US), ("bar60", "AAPL", MINUTE)]
    assert bench.watermarks.published_through("yahoo", "bar60") == {"AAPL": MINUTE - MINUTE_US}


def test_nothing_is_asked_for_before_the_next_bar_can_have_closed() -> None:
    source = yahoo({"AAPL": [a_bar("AAPL")]})
    bench = Bench([source])
    bench.poll(AAPL)
    bench.now = MINUTE + MINUTE_US - 1
    bench.poll(AAPL)
    assert len(source.asked) == 1


def test_what_was_published_before_is_not_published_again() -> None:
    bench = Bench([yahoo({"AAPL": [a_bar("AAPL"), a_quote("AAPL")]})])
    (first,) = bench.poll(AAPL).sources
    bench.now += MINUTE_US
    (second,) = bench.poll(AAPL).sources
    assert (first.bars, first.quotes) == (1, 1)
    assert (second.bars, second.quotes, second.dropped["published before"]) == (0, 0, 1)
    assert len(bench.publisher.events) == 2


def test_watermarks_stay_where_they_are_until_the_facts_are_safe() -> None:
    bench = Bench([yahoo({"AAPL": [a_bar("AAPL")]})], publisher=ListPublisher(unconfirmed=1))
    with pytest.raises(PublishError, match="1 of 1"):
        bench.poll(AAPL)
    assert bench.watermarks.published_through("yahoo", "bar60") == {}
    assert bench.poll(AAPL).sources[0].bars == 1
    assert bench.watermarks.published_through("yahoo", "bar60") == {"AAPL": MINUTE - MINUTE_US}


@pytest.mark.parametrize("error", [SymbolUnknown("who"), Transient("reset"), BadPayload("x")])
def test_one_failing_symbol_stops_no_other(error: SourceError) -> None:
    bench = Bench([yahoo({"AAPL": [a_bar("AAPL")], "MSFT": error, "IBM": [a_bar("IBM")]})])
    (report,) = bench.poll(AAPL, MSFT, IBM).sources
    assert [event.symbol for event in bench.publisher.events] == ["AAPL", "IBM"]
    assert report.failed == {"MSFT": f"bar60: {type(error).__name__}: {error}"}
    assert "MSFT" not in bench.watermarks.published_through("yahoo", "bar60")


def test_where_nothing_is_answered_the_first_error_is_raised_after_the_dead_letters_are_sent() -> None:
    bench = Bench([yahoo({"AAPL": BadPayload("no chart", b"<html>"), "MSFT": SymbolUnknown("who")})])
    with pytest.raises(BadPayload, match="no chart"):
        bench.poll(AAPL, MSFT)
    assert [(letter["symbol"], letter["raw"], letter["asked_for"]) for letter in bench.publisher.dead_letters] == [
        ("AAPL", "<html>", "bar60")
    ]


def test_a_source_that_refuses_is_not_asked_on() -> None:
    source = yahoo({"AAPL": RateLimited("fewer"), "MSFT": [a_bar("MSFT")], "IBM": [a_bar("IBM")]})
    bench = Bench([source])
    with pytest.raises(RateLimited):
        bench.poll(AAPL, MSFT, IBM)
    assert [symbol for _, symbol, _ in source.asked] == ["AAPL"]


def test_an_empty_range_is_an_answer() -> None:
    bench = Bench([yahoo({"AAPL": EmptyRange("nothing")})], is_open=False)
    (report,) = bench.poll(AAPL).sources
    assert (report.bars, report.failed) == (0, {})


def test_what_is_not_valid_goes_to_the_dead_letters_and_the_rest_is_published() -> None:
    result = FetchResult(
        [a_bar("AAPL", price="NaN"), a_bar("AAPL", NOW + 60 * MINUTE_US), a_bar("AAPL")],
        [Rejected(b"[1,2", "row: short", "yahoo", "AAPL", "bar60")],
    )
    bench = Bench([yahoo({"AAPL": result})])
    (report,) = bench.poll(AAPL).sources
    assert (report.bars, report.rejected) == (1, 3)
    assert [letter["reason"] for letter in bench.publisher.dead_letters] == [
        "a price or the volume is not finite",
        "event time lies in the future",
        "row: short",
    ]
    assert {letter["rejected_at"] for letter in bench.publisher.dead_letters} == {NOW}
    assert bench.watermarks.published_through("yahoo", "bar60") == {"AAPL": MINUTE - MINUTE_US}


def test_an_answer_that_carries_the_prices_spares_their_question() -> None:
    source = ToldSource("yahoo", {"bar60": {"AAPL": [a_bar("AAPL"), a_quote("AAPL")]}, "quote": {}}, carries=())
    carrying = Bench([yahoo({"AAPL": [a_bar("AAPL"), a_quote("AAPL")]})])
    assert carrying.poll(AAPL).sources[0].quotes == 1
    apart = Bench([source])
    apart.poll(AAPL)
    assert [want for want, _, _ in source.asked] == ["bar60", "quote"]


def test_prices_that_do_not_come_leave_the_bars() -> None:
    bench = Bench([yahoo({"AAPL": [a_bar("AAPL")]}, {"AAPL": BadPayload("html", b"\xff")})])
    (report,) = bench.poll(AAPL).sources
    assert (report.bars, report.failed) == (1, {"AAPL": "quote: BadPayload: html"})
    assert bench.publisher.dead_letters[0]["raw_encoding"] == "base64"


def test_figures_that_are_made_once_a_day_are_not_asked_for_every_minute() -> None:
    source = ToldSource("alpha_vantage", {"quote": {"AAPL": [a_quote("AAPL")]}}, delay_seconds=END_OF_DAY)
    bench = Bench([source])
    bench.poll(AAPL)
    bench.now += 5 * 3600 * 1_000_000
    bench.poll(AAPL)
    assert len(source.asked) == 1
    bench.now += 3600 * 1_000_000
    bench.poll(AAPL)
    assert len(source.asked) == 2


def test_a_day_bar_is_wanted_from_days_back_and_only_once_a_day_is_over() -> None:
    source = ToldSource("alpha_vantage", {"bar86400": {}})
    bench = Bench([source], wants=(DAILY_BARS,))
    bench.poll(AAPL)
    ((_, _, since),) = source.asked
    assert NOW - 5 * 86_400_000_000 < since < NOW - 3 * 86_400_000_000


class EveryMinuteBefore:
    """Trades own the minutes from `owned_from` on, and those of [covered_from, covered_through)."""

    def __init__(self, covered: tuple[int, int], owned_from: int) -> None:
        self._covered, self._owned_from = covered, owned_from

    def first_free(self, symbol: str, start_us: int) -> int | None:
        if self._covered[0] <= start_us < self._covered[1]:
            start_us = self._covered[1]
        return None if start_us >= self._owned_from else start_us


def test_minutes_whose_trades_are_published_get_no_bar() -> None:
    starts = [MINUTE - n * MINUTE_US for n in (6, 5, 4, 3, 2, 1)]
    source = yahoo({"AAPL": [a_bar("AAPL", start) for start in starts]})
    bench = Bench([source], minutes=EveryMinuteBefore((starts[1], starts[3]), starts[5]))
    (report,) = bench.poll(AAPL).sources
    assert [event.event_time for event in bench.publisher.events] == [starts[0], starts[3], starts[4]]
    assert report.dropped["covered by trades"] == 3
    bench.now += MINUTE_US
    bench.poll(AAPL)
    assert len(source.asked) == 1, "all that follows is the trades'"
