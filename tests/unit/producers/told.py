"""Sources that do as they are told, behind the real client, breaker, chain and poll."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from tenacity import Retrying, stop_after_attempt

from include.errors import SourceError
from include.market.event import MICROSECONDS, MarketEvent, Source, bar, quote
from include.market.instrument import Instrument
from include.producers.failover import Candidate, MemorySwitchboard, SourceChain
from include.producers.ingestion import Ingestion
from include.producers.poll import Rules
from include.producers.progress import NoTrades, Progress, TradedMinutes
from include.producers.publisher import ListPublisher
from include.producers.report import IngestionReport
from include.producers.watermarks import MemoryWatermarks
from include.sources.base import (
    ACTIONS,
    MINUTE_BARS,
    MINUTE_US,
    QUOTES,
    Answer,
    Capability,
    Declaration,
    FetchResult,
    Question,
    Want,
)
from include.sources.catalogue import catalogue
from include.sources.client import SourceClient
from include.sources.gate import OpenGate

NOW = 1_700_000_040_000_000
MINUTE = NOW // MINUTE_US * MINUTE_US
AAPL, MSFT, IBM, GE = (catalogue().get(symbol) for symbol in ("AAPL", "MSFT", "IBM", "GE"))

Told = list[MarketEvent] | FetchResult | SourceError


def a_bar(symbol: str, start: int = MINUTE - MINUTE_US, price: str = "2", source: Source = "yahoo") -> MarketEvent:
    return bar(
        symbol=symbol,
        asset_class="stock",
        source=source,
        start=start,
        interval_seconds=60,
        prices=(Decimal(price),) * 4,
        volume=None,
        currency="USD",
        ingested_at=NOW,
    )


def a_quote(symbol: str, time: int = NOW, source: Source = "yahoo") -> MarketEvent:
    return quote(
        symbol=symbol,
        asset_class="stock",
        source=source,
        time=time,
        price=Decimal(2),
        currency="USD",
        ingested_at=NOW,
    )


@dataclass
class ToldSource:
    """Answers `told[want name][symbol]`: events, a whole result, or an error; asked[i] = (want, symbol, since)."""

    name: Source
    told: dict[str, dict[str, Told]]
    carries: tuple[Want, ...] = ()
    delay_seconds: int = 0
    plan: str = ""
    asked: list[tuple[str, str, int]] = field(default_factory=list)

    @property
    def declaration(self) -> Declaration:
        wants = {"bar60": MINUTE_BARS, "quote": QUOTES, "bar86400": Want("bar", 86_400), "action": ACTIONS}
        capabilities = tuple(
            Capability(wants[name], "stock", delay_seconds=self.delay_seconds, carries=self.carries)
            for name in self.told
        )
        return Declaration(self.name, capabilities, rates=())

    def questions(
        self,
        want: Want,
        instruments: Sequence[Instrument],
        since_us: Mapping[str, int],
        now_us: int,
        until_us: int | None = None,
    ) -> list[Question]:
        return [
            Question(want, (instrument,), f"/{instrument.symbol}", {}, since_us[instrument.symbol])
            for instrument in instruments
        ]

    def refusal(self, answer: Answer, now_us: int) -> SourceError | None:
        return None

    def read(self, question: Question, answer: Answer, now_us: int) -> FetchResult:
        (instrument,) = question.instruments
        self.asked.append((question.want.name, instrument.symbol, question.since_us))
        told = self.told[question.want.name].get(instrument.symbol, [])
        if isinstance(told, SourceError):
            raise told
        if isinstance(told, FetchResult):
            return told
        return FetchResult([event for event in told if event.kind != "bar" or event.event_time >= question.since_us])

    def used(self, answer: Answer) -> int | None:
        return None


class Wire:
    """Brings every question to its source."""

    def get(self, url: str, params: Mapping[str, str], headers: Mapping[str, str]) -> Answer:
        return Answer(200, {}, b"")

    def close(self) -> None: ...


@dataclass
class Bench:
    """Polls `sources` (best first) for wants in order; time stands still unless `now` is moved."""

    sources: list[ToldSource]
    wants: tuple[Want, ...] = (MINUTE_BARS, QUOTES)
    publisher: ListPublisher = field(default_factory=ListPublisher)
    watermarks: MemoryWatermarks = field(default_factory=MemoryWatermarks)
    gate: OpenGate = field(default_factory=OpenGate)
    board: MemorySwitchboard = field(default_factory=MemorySwitchboard)
    minutes: TradedMinutes = field(default_factory=NoTrades)
    is_open: bool = True
    now: int = NOW

    def poll(self, *instruments: Instrument) -> IngestionReport:
        rules = Rules(
            Progress(240 * MINUTE_US, self.minutes), 180 * MICROSECONDS, lambda _: self.is_open, lambda: self.now
        )
        offers = {want: self._candidates(want) for want in self.wants}
        chains = [SourceChain("stock", want, some, self.gate, self.board) for want, some in offers.items() if some]
        ingestion = Ingestion(chains, rules, self.gate, self.publisher, self.watermarks)
        return ingestion.run(instruments)

    def _candidates(self, want: Want) -> list[Candidate]:
        found = []
        for source in self.sources:
            capability = source.declaration.offers("stock", want)
            if capability is not None:
                once = Retrying(stop=stop_after_attempt(1), reraise=True)
                client = SourceClient(source, "http://told", Wire(), self.gate, once, lambda: self.now)
                found.append(Candidate(client, capability))
        return found


def yahoo(bars: dict[str, Told], quotes: dict[str, Told] | None = None) -> ToldSource:
    """With quotes carried by the bars' answer, unless they are told apart."""
    if quotes is None:
        return ToldSource("yahoo", {"bar60": bars}, carries=(QUOTES,))
    return ToldSource("yahoo", {"bar60": bars, "quote": quotes})
