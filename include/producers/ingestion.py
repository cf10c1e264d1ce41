"""One batch of one source: fetch what is new, validate, publish, confirm, and only then move on."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field

import structlog

from include.errors import BadPayload, EmptyRange, GeoBlocked, RateLimited, SourceError
from include.market.event import Kind, MarketEvent
from include.market.instrument import Instrument
from include.producers.publisher import Publisher, publish_valid
from include.producers.report import SourceReport
from include.producers.watermarks import Watermarks
from include.sources.base import MINUTE_US, Clock, FetchResult, PriceSource, Rejected

#: One symbol's refusal does not stop the others; after this many in a row it is the source's, and
#: asking on would only make a ban longer.
REFUSALS_IN_A_ROW = 2

log = structlog.get_logger(__name__)


def system_clock() -> int:
    """Now, in UTC epoch microseconds."""
    return time.time_ns() // 1_000


@dataclass(slots=True)
class _Batch:
    """What has happened so far; `newest` are the watermarks that the confirmation will allow."""

    source: PriceSource
    bars: int = 0
    quotes: int = 0
    rejected: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    errors: dict[str, SourceError] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    newest: dict[Kind, dict[str, int]] = field(default_factory=lambda: {"bar": {}, "quote": {}})

    def fail(self, symbol: str, error: SourceError, what: str) -> None:
        self.failed[symbol] = f"{what}: {type(error).__name__}: {error}"
        log.warning(
            "symbol.failed",
            source=self.source.declaration.name,
            symbol=symbol,
            asked_for=what,
            error=type(error).__name__,
            reason=str(error),
        )


class Ingestion:
    """The batch of a source for some instruments; everything it works with is passed in."""

    def __init__(
        self,
        source: PriceSource,
        publisher: Publisher,
        watermarks: Watermarks,
        lookback_minutes: int,
        clock: Clock = system_clock,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._source = source
        self._publisher = publisher
        self._watermarks = watermarks
        self._lookback_us = lookback_minutes * MINUTE_US
        self._clock = clock
        self._monotonic = monotonic

    def run(self, instruments: Sequence[Instrument]) -> SourceReport:
        """One batch. A symbol that fails is in the report and stops no other.

        Raises PublishError where Kafka did not confirm everything (no watermark moves: the next batch
        sends it again, under the same event ids), and the first symbol's error where all failed.
        """
        began = self._monotonic()
        batch = _Batch(self._source)
        name = self._source.declaration.name
        held: dict[Kind, dict[str, int]] = {
            "bar": self._watermarks.published_through(name, "bar"),
            "quote": self._watermarks.published_through(name, "quote"),
        }
        answered = self._fetch_bars(batch, instruments, held)
        if answered and not self._source.declaration.quotes_with_bars:
            self._fetch_quotes(batch, answered, held)
        self._publisher.confirm()
        for kind, times in batch.newest.items():
            if times:
                self._watermarks.advance(name, kind, times)
        report = SourceReport(
            source=name,
            requested=tuple(instrument.symbol for instrument in instruments),
            bars=batch.bars,
            quotes=batch.quotes,
            rejected=batch.rejected,
            failed=batch.failed,
            dropped=dict(batch.dropped),
            seconds=self._monotonic() - began,
        )
        log.info("batch.published", **asdict(report))
        if instruments and not answered:
            raise next(iter(batch.errors.values()))
        return report

    def _fetch_bars(
        self, batch: _Batch, instruments: Sequence[Instrument], held: dict[Kind, dict[str, int]]
    ) -> list[Instrument]:
        """The instruments that the source answered for."""
        answered: list[Instrument] = []
        refused: list[SourceError] = []
        for instrument in instruments:
            if len(refused) >= REFUSALS_IN_A_ROW:
                batch.errors[instrument.symbol] = refused[-1]
                batch.fail(instrument.symbol, refused[-1], "not asked")
                continue
            now_us = self._clock()
            try:
                result = self._source.closed_bars(instrument, self._since(instrument, held, now_us), now_us)
            except EmptyRange:
                result = FetchResult()
            except SourceError as error:
                refused = [*refused, error] if isinstance(error, RateLimited | GeoBlocked) else []
                batch.errors[instrument.symbol] = error
                batch.fail(instrument.symbol, error, "bars")
                self._keep_payload(batch, instrument.symbol, error)
                continue
            refused = []
            answered.append(instrument)
            self._take(batch, result, held)
        return answered

    def _fetch_quotes(self, batch: _Batch, instruments: Sequence[Instrument], held: dict[Kind, dict[str, int]]) -> None:
        """For all at once: one request. The bars are there, so a failure here fails no symbol."""
        try:
            result = self._source.quotes(instruments, self._clock())
        except SourceError as error:
            for instrument in instruments:
                batch.fail(instrument.symbol, error, "quote")
            self._keep_payload(batch, "", error)
            return
        self._take(batch, result, held)

    def _since(self, instrument: Instrument, held: dict[Kind, dict[str, int]], now_us: int) -> int:
        """The start of the first bar that was not published yet."""
        through = held["bar"].get(instrument.symbol)
        first_us = now_us - self._lookback_us if through is None else through + MINUTE_US
        return first_us // MINUTE_US * MINUTE_US

    def _take(self, batch: _Batch, result: FetchResult, held: dict[Kind, dict[str, int]]) -> None:
        """Publishes what is new, and moves the batch's own watermarks."""
        batch.dropped += result.dropped
        now_us = self._clock()
        for event in result.events:
            if event.event_time <= held[event.kind].get(event.symbol, 0):
                batch.dropped["published before"] += 1
            elif publish_valid(self._publisher, event, now_us):
                self._count(batch, event)
            else:
                batch.rejected += 1
        for rejected in result.rejected:
            self._publisher.dead_letter(rejected, now_us)
        batch.rejected += len(result.rejected)

    def _count(self, batch: _Batch, event: MarketEvent) -> None:
        if event.kind == "bar":
            batch.bars += 1
        else:
            batch.quotes += 1
        newest = batch.newest[event.kind]
        newest[event.symbol] = max(event.event_time, newest.get(event.symbol, 0))

    def _keep_payload(self, batch: _Batch, symbol: str, error: SourceError) -> None:
        if isinstance(error, BadPayload):
            name = self._source.declaration.name
            self._publisher.dead_letter(Rejected(error.payload, str(error), name, symbol), self._clock())
            batch.rejected += 1
