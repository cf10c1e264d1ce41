"""What one poll has taken so far: validated, published, counted by source; watermarks wait for the confirmation."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec
import structlog

from include.errors import BadPayload, SourceError
from include.market.event import MarketEvent, Source, encode
from include.market.instrument import Instrument
from include.producers.publisher import Publisher, publish_valid
from include.producers.report import SourceReport
from include.producers.watermarks import Watermarks
from include.sources.base import FetchResult, Rejected, Want

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class SourceTally:
    """Counts of what one source gave; `failed` has the reason by symbol."""

    requested: dict[str, None] = field(default_factory=dict)
    bars: int = 0
    quotes: int = 0
    trades: int = 0
    rejected: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    dropped: Counter[str] = field(default_factory=Counter)

    def report(self, source: Source) -> SourceReport:
        return SourceReport(
            source=source,
            requested=tuple(self.requested),
            bars=self.bars,
            quotes=self.quotes,
            trades=self.trades,
            rejected=self.rejected,
            failed=self.failed,
            dropped=dict(self.dropped),
        )


class Batch:
    """Facts on their way to Kafka. Times in UTC epoch microseconds."""

    def __init__(self, publisher: Publisher, watermarks: Watermarks) -> None:
        self.tallies: defaultdict[Source, SourceTally] = defaultdict(SourceTally)
        self._publisher = publisher
        self._watermarks = watermarks
        self._held: dict[tuple[Source, str], dict[str, int]] = {}
        self._newest: defaultdict[tuple[Source, str], dict[str, int]] = defaultdict(dict)
        self._taken: dict[str, MarketEvent] = {}

    def held(self, source: Source, name: str) -> dict[str, int]:
        """Watermarks of earlier polls, by symbol."""
        if (source, name) not in self._held:
            self._held[source, name] = self._watermarks.published_through(source, name)
        return self._held[source, name]

    def take(self, source: Source, result: FetchResult, now_us: int) -> None:
        """Publishes what is new and valid; what is not valid goes to the dead letters."""
        tally = self.tallies[source]
        tally.dropped += result.dropped
        for event in result.events:
            name = f"{event.kind}{event.interval_seconds or ''}"
            if event.event_time <= self.held(source, name).get(event.symbol, 0):
                tally.dropped["published before"] += 1
            elif event.event_id in self._taken:
                self._repeat(tally, event, now_us)
            elif publish_valid(self._publisher, event, now_us):
                self._taken[event.event_id] = event
                self._count(tally, event)
                self.move(source, name, event.symbol, event.event_time)
            else:
                tally.rejected += 1
        for rejected in result.rejected:
            self._publisher.dead_letter(rejected, now_us)
        tally.rejected += len(result.rejected)

    def move(self, source: Source, name: str, symbol: str, time_us: int) -> None:
        """The watermark that the confirmation will allow."""
        newest = self._newest[source, name]
        newest[symbol] = max(time_us, newest.get(symbol, 0))

    def fail(
        self, source: Source, instruments: Sequence[Instrument], want: Want, error: SourceError, now_us: int
    ) -> None:
        """Says why a question has no answer; what came instead goes to the dead letters."""
        tally = self.tallies[source]
        for instrument in instruments:
            tally.failed.setdefault(instrument.symbol, f"{want.name}: {type(error).__name__}: {error}")
        symbols = [instrument.symbol for instrument in instruments]
        log.warning(
            "source.failed",
            source=source,
            symbols=symbols,
            asked_for=want.name,
            error=type(error).__name__,
            reason=str(error),
        )
        if isinstance(error, BadPayload):
            symbol = symbols[0] if len(symbols) == 1 else ""
            self._publisher.dead_letter(Rejected(error.payload, str(error), source, symbol, want.name), now_us)
            tally.rejected += 1

    def confirm(self) -> int:
        """Waits until every fact is safe, then moves the watermarks; how many still wait for Kafka on disk.

        Raises PublishError where they are not safe: nothing moves, and the next poll asks again.
        """
        waiting = self._publisher.confirm().spooled
        for (source, name), times in self._newest.items():
            self._watermarks.advance(source, name, times)
        return waiting

    def _repeat(self, tally: SourceTally, event: MarketEvent, now_us: int) -> None:
        """The same fact once more in one poll: nothing, or, with other figures, one of the two is wrong."""
        first = self._taken[event.event_id]
        if msgspec.structs.replace(event, ingested_at=first.ingested_at) == first:
            tally.dropped["given twice"] += 1
            return
        reason = "other figures for a fact that came before in this poll"
        self._publisher.dead_letter(Rejected(encode(event), reason, event.source, event.symbol), now_us)
        tally.rejected += 1

    @staticmethod
    def _count(tally: SourceTally, event: MarketEvent) -> None:
        if event.kind == "bar":
            tally.bars += 1
        elif event.kind == "quote":
            tally.quotes += 1
        else:
            tally.trades += 1
