"""The batch: what moves, what stops, what is kept; against a source that does as it is told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal

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
from include.market.event import MarketEvent, bar, quote
from include.market.instrument import Instrument
from include.producers.ingestion import Ingestion
from include.producers.publisher import ListPublisher
from include.producers.watermarks import MemoryWatermarks
from include.sources.base import MINUTE_US, Declaration, FetchResult, Rejected
from include.sources.catalogue import catalogue

NOW = 1_700_000_040_000_000
MINUTE = NOW // MINUTE_US * MINUTE_US
AAPL, MSFT, IBM = (catalogue().get(symbol) for symbol in ("AAPL", "MSFT", "IBM"))


def a_bar(symbol: str, start: int = MINUTE - MINUTE_US, price: str = "2") -> MarketEvent:
    return bar(
        symbol=symbol,
        asset_class="stock",
        source="yahoo",
        start=start,
        interval_seconds=60,
        prices=(Decimal(price),) * 4,
        volume=None,
        currency="USD",
        ingested_at=NOW,
    )


def a_quote(symbol: str, time: int = NOW) -> MarketEvent:
    return quote(
        symbol=symbol,
        asset_class="stock",
        source="yahoo",
        time=time,
        price=Decimal(2),
        currency="USD",
        ingested_at=NOW,
    )


@dataclass
class ToldSource:
    """Answers by symbol: events, a whole result, or an error to raise."""

    bars: dict[str, list[MarketEvent] | FetchResult | SourceError]
    priced: list[MarketEvent] | SourceError | None = None
    asked: list[tuple[str, int]] = field(default_factory=list)

    @property
    def declaration(self) -> Declaration:
        return Declaration("yahoo", ("stock",), ("bar", "quote"), 60, quotes_with_bars=self.priced is None)

    def closed_bars(self, instrument: Instrument, since_us: int, now_us: int) -> FetchResult:
        self.asked.append((instrument.symbol, since_us))
        return self._told(self.bars[instrument.symbol])

    def quotes(self, instruments: Sequence[Instrument], now_us: int) -> FetchResult:
        self.asked += [(f"price of {instrument.symbol}", now_us) for instrument in instruments]
        return self._told(self.priced or [])

    def close(self) -> None: ...

    @staticmethod
    def _told(answer: list[MarketEvent] | FetchResult | SourceError) -> FetchResult:
        if isinstance(answer, SourceError):
            raise answer
        return answer if isinstance(answer, FetchResult) else FetchResult(list(answer))


@dataclass
class Bench:
    source: ToldSource
    publisher: ListPublisher = field(default_factory=ListPublisher)
    watermarks: MemoryWatermarks = field(default_factory=MemoryWatermarks)

    @property
    def ingestion(self) -> Ingestion:
        return Ingestion(self.source, self.publisher, self.watermarks, 240, clock=lambda: NOW)


def test_the_first_batch_looks_back_and_the_next_starts_after_the_last_published_bar() -> None:
    bench = Bench(ToldSource({"AAPL": [a_bar("AAPL")]}))
    bench.ingestion.run([AAPL])
    bench.ingestion.run([AAPL])
    assert bench.source.asked == [("AAPL", MINUTE - 240 * MINUTE_US), ("AAPL", MINUTE)]
    assert bench.watermarks.published_through("yahoo", "bar") == {"AAPL": MINUTE - MINUTE_US}


def test_what_was_published_before_is_not_published_again() -> None:
    bench = Bench(ToldSource({"AAPL": [a_bar("AAPL"), a_quote("AAPL")]}))
    first, second = bench.ingestion.run([AAPL]), bench.ingestion.run([AAPL])
    assert (first.bars, first.quotes) == (1, 1)
    assert (second.bars, second.quotes, second.dropped) == (0, 0, {"published before": 2})
    assert len(bench.publisher.events) == 2


def test_watermarks_stay_where_they_are_until_kafka_has_confirmed() -> None:
    bench = Bench(ToldSource({"AAPL": [a_bar("AAPL")]}), ListPublisher(unconfirmed=1))
    with pytest.raises(PublishError, match="1 of 1"):
        bench.ingestion.run([AAPL])
    assert bench.watermarks.published_through("yahoo", "bar") == {}
    assert bench.ingestion.run([AAPL]).bars == 1
    assert bench.watermarks.published_through("yahoo", "bar") == {"AAPL": MINUTE - MINUTE_US}


@pytest.mark.parametrize("error", [SymbolUnknown("who"), Transient("reset"), RateLimited("fewer"), BadPayload("x")])
def test_one_failing_symbol_stops_no_other(error: SourceError) -> None:
    bench = Bench(ToldSource({"AAPL": [a_bar("AAPL")], "MSFT": error, "IBM": [a_bar("IBM")]}))
    report = bench.ingestion.run([AAPL, MSFT, IBM])
    assert [event.symbol for event in bench.publisher.events] == ["AAPL", "IBM"]
    assert report.failed == {"MSFT": f"bars: {type(error).__name__}: {error}"}
    assert "MSFT" not in bench.watermarks.published_through("yahoo", "bar")


def test_where_all_symbols_fail_the_first_error_is_raised_after_the_dead_letters_are_sent() -> None:
    bench = Bench(ToldSource({"AAPL": BadPayload("no chart", b"<html>"), "MSFT": SymbolUnknown("who")}))
    with pytest.raises(BadPayload, match="no chart"):
        bench.ingestion.run([AAPL, MSFT])
    assert [(letter["symbol"], letter["raw"]) for letter in bench.publisher.dead_letters] == [("AAPL", "<html>")]


def test_a_source_that_refuses_twice_in_a_row_is_not_asked_on() -> None:
    fewer = RateLimited("fewer")
    bench = Bench(ToldSource({"AAPL": fewer, "MSFT": fewer, "IBM": [a_bar("IBM")]}))
    with pytest.raises(RateLimited):
        bench.ingestion.run([AAPL, MSFT, IBM])
    assert [symbol for symbol, _ in bench.source.asked] == ["AAPL", "MSFT"]


def test_refusals_that_are_not_in_a_row_are_the_symbols_own() -> None:
    fewer = RateLimited("fewer")
    bench = Bench(ToldSource({"AAPL": fewer, "MSFT": [], "IBM": fewer, "GE": [a_bar("GE")]}))
    report = bench.ingestion.run([AAPL, MSFT, IBM, catalogue().get("GE")])
    assert (report.bars, list(report.failed)) == (1, ["AAPL", "IBM"])


def test_an_empty_range_is_an_answer() -> None:
    bench = Bench(ToldSource({"AAPL": EmptyRange("nothing")}))
    report = bench.ingestion.run([AAPL])
    assert (report.bars, report.failed) == (0, {})


def test_what_is_not_valid_goes_to_the_dead_letters_and_the_rest_is_published() -> None:
    result = FetchResult(
        [a_bar("AAPL", price="NaN"), a_bar("AAPL", NOW + 60 * MINUTE_US), a_bar("AAPL")],
        [Rejected(b"[1,2", "row: short", "yahoo", "AAPL")],
    )
    bench = Bench(ToldSource({"AAPL": result}))
    report = bench.ingestion.run([AAPL])
    assert (report.bars, report.rejected) == (1, 3)
    assert [letter["reason"] for letter in bench.publisher.dead_letters] == [
        "a price or the volume is not finite",
        "event time lies in the future",
        "row: short",
    ]
    assert {letter["rejected_at"] for letter in bench.publisher.dead_letters} == {NOW}
    assert bench.watermarks.published_through("yahoo", "bar") == {"AAPL": MINUTE - MINUTE_US}


def test_prices_are_asked_for_at_once_and_only_for_symbols_that_were_answered() -> None:
    told = ToldSource({"AAPL": [], "MSFT": SymbolUnknown("who"), "IBM": []}, [a_quote("AAPL"), a_quote("IBM")])
    report = Bench(told).ingestion.run([AAPL, MSFT, IBM])
    assert told.asked[3:] == [("price of AAPL", NOW), ("price of IBM", NOW)]
    assert report.quotes == 2


def test_prices_that_do_not_come_leave_the_bars() -> None:
    bench = Bench(ToldSource({"AAPL": [a_bar("AAPL")]}, BadPayload("html", b"\xff")))
    report = bench.ingestion.run([AAPL])
    assert (report.bars, report.failed) == (1, {"AAPL": "quote: BadPayload: html"})
    assert bench.publisher.dead_letters[0]["raw_encoding"] == "base64"
