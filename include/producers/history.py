"""Bars of the past, asked for once more: through the same sources, quotas and validation as a poll.

What comes is not published: a fact that is hours old would be late to the stream. It is handed back, to be compared
with what is held.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from math import ceil
from types import TracebackType
from typing import Self

from include.errors import BadPayload, EmptyRange, SettingsError, SourceError, SymbolUnknown
from include.market.corporate_action import CorporateAction
from include.market.event import AssetClass, MarketEvent, Source, encode, reason_invalid
from include.market.gaps import FEW, MINUTE
from include.market.instrument import Instrument
from include.producers.failover import Candidate
from include.producers.ingestion import system_clock
from include.producers.market_producer import Parts, connected_parts
from include.producers.progress import TradedMinutes
from include.producers.publisher import Publisher
from include.settings import Settings
from include.sources.base import (
    ACTIONS,
    END_OF_DAY,
    MINUTE_BARS,
    MINUTE_US,
    Clock,
    FetchResult,
    Question,
    Rejected,
    Want,
)
from include.sources.client import rejected
from include.sources.gate import Gate
from include.sources.health import Health
from include.sources.registry import build_client, chain

DAY_US = 1_440 * MINUTE_US


@dataclass(frozen=True, slots=True)
class Fetched:
    """What the sources had for a symbol and a span: valid bars, each minute once, in order of time.

    `sources` are those that answered; with none, nobody could say, and `reason` says why. `left`: bars of minutes whose
    trades are published. `refused`: not valid, and in the dead letters. `is_unknown`: no source knows the symbol.
    `is_whole`: what is not here, those who can have it do not have. `is_too_old`: no source goes back so far.
    """

    bars: tuple[MarketEvent, ...] = ()
    sources: tuple[Source, ...] = ()
    calls: int = 0
    left: int = 0
    refused: int = 0
    is_unknown: bool = False
    is_whole: bool = False
    is_too_old: bool = False
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Cost:
    """What asking costs at the source that is asked first: calls, and units of its quota."""

    source: Source
    calls: int
    units: int


class History:
    """The sources of one asset class, as a backfill asks them. `candidates` best first."""

    def __init__(
        self,
        candidates: Sequence[Candidate],
        publisher: Publisher,
        minutes: TradedMinutes,
        gate: CountingGate,
        clock: Clock = system_clock,
    ) -> None:
        self._candidates = list(candidates)
        self._publisher = publisher
        self._minutes = minutes
        self._gate = gate
        self._clock = clock
        self._parts: Parts | None = None

    @classmethod
    def connected(cls, configuration: Settings, asset_class: AssetClass, only: str | None = None) -> Self:
        """On the running stack; `only` this source. Raises SettingsError where it gives no bars of this class."""
        parts = connected_parts(configuration, asset_class)
        gate = CountingGate(parts.gate)
        offers = chain(asset_class, MINUTE_BARS, configuration)
        names = [offered.declaration.name for offered, _ in offers]
        if only is not None and only not in names:
            parts.close()
            raise SettingsError(f"{only} has no minute bars of {asset_class} here: it takes {', '.join(names)}")
        candidates = [
            Candidate(build_client(offered.declaration.name, configuration, gate, system_clock), capability)
            for offered, capability in offers
            # Figures that are made at the end of the day are of no use for a day that is not over.
            if only in (None, offered.declaration.name) and capability.delay_seconds < END_OF_DAY
        ]
        history = cls(candidates, parts.publisher, parts.minutes(), gate)
        history._parts = parts
        return history

    def fetch(self, instrument: Instrument, start_us: int, end_us: int, wanted: Collection[int] = ()) -> Fetched:
        """Closed minute bars with start_us <= start < end_us (UTC epoch microseconds), from the first source that has
        any. The next one is asked too while the first leaves more than a few of the `wanted` minutes open.

        A source that fails is passed over. Raises PublishError where what is not valid is not safe.
        """
        found: dict[int, MarketEvent] = {}
        tally = _Tally()
        before = self._gate.calls
        for candidate in self._candidates:
            for event in self._given(candidate, instrument, start_us, end_us, tally):
                found.setdefault(event.event_time, event)
            # For a few minutes, which are most often without a trade, no second source is asked.
            if found and len(set(wanted) - found.keys()) * MINUTE < FEW:
                break
        if tally.refused:
            self._publisher.confirm()
        return Fetched(
            bars=tuple(found[time] for time in sorted(found)),
            sources=tuple(tally.sources),
            calls=self._gate.calls - before,
            left=tally.left,
            refused=tally.refused,
            is_unknown=tally.is_unknown,
            is_whole=tally.is_whole and bool(tally.sources),
            is_too_old=tally.is_too_old and not tally.is_unknown,
            reason="; ".join(tally.reasons),
        )

    def actions(self, instrument: Instrument, since_us: int) -> list[CorporateAction] | None:
        """Splits and dividends since then, by the first source that tells of such; None where none of these does.

        Raises the SourceError tree.
        """
        for candidate in self._candidates:
            source = candidate.client.source
            offered = source.declaration.offers(instrument.asset_class, ACTIONS, source.plan)
            if offered is not None and candidate.name in instrument.ids:
                since = {instrument.symbol: since_us}
                (question,) = source.questions(ACTIONS, [instrument], since, self._clock())
                return candidate.client.fetch(question).actions
        return None

    def cost(self, instrument: Instrument, start_us: int, end_us: int) -> Cost | None:
        """What `fetch` would cost, asked of nobody; None where no source knows the instrument."""
        for candidate in self._candidates:
            if candidate.name in instrument.ids:
                rows = candidate.capability.rows
                calls = 1 if rows is None else max(1, ceil((end_us - start_us) / MINUTE_US / rows))
                return Cost(candidate.name, calls, calls * candidate.capability.cost)
        return None

    def adjusts(self, source: Source) -> bool:
        """Whether the source gives bars of before a split in the shares of now."""
        return any(one.name == source and one.capability.is_split_adjusted for one in self._candidates)

    def spare(self) -> int:
        """Calls of the first source that may be made for the past now."""
        if not self._candidates:
            return 0
        first = self._candidates[0]
        return self._gate.spare(first.name, self._clock()) // first.capability.cost

    def close(self) -> None:
        for candidate in self._candidates:
            candidate.client.close()
        if self._parts is not None:
            self._parts.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _given(
        self, candidate: Candidate, instrument: Instrument, start_us: int, end_us: int, tally: _Tally
    ) -> list[MarketEvent]:
        """Valid bars of one source; why it has none, or not all, is in the tally."""
        if candidate.name not in instrument.ids:
            tally.reasons.append(f"{instrument.symbol} has no {candidate.name} id")
            return []
        depth_us = candidate.capability.depth_us
        oldest_us = 0 if depth_us is None else self._clock() - depth_us
        if start_us < oldest_us:
            tally.is_whole = tally.is_unknown = False
            tally.reasons.append(
                f"{candidate.name} keeps minutes for no longer than {(depth_us or 0) // DAY_US + 1} days"
            )
            if end_us <= oldest_us:
                return []
        tally.is_too_old = False
        try:
            result = self._ask(candidate, instrument, max(start_us, oldest_us), end_us)
        except SymbolUnknown as error:
            tally.reasons.append(str(error))
            return []
        except EmptyRange as error:
            tally.is_unknown = False
            tally.sources.append(candidate.name)
            tally.reasons.append(str(error))
            return []
        except SourceError as error:
            tally.is_unknown = tally.is_whole = False
            tally.reasons.append(f"{candidate.name}: {type(error).__name__}: {error}")
            if isinstance(error, BadPayload):
                question = self._questions(candidate, instrument, start_us, end_us)[0]
                self._refuse(rejected(error, question, candidate.name), tally)
            return []
        tally.is_unknown = False
        cut = [why for why in result.dropped if why.startswith("the rest did not come")]
        tally.is_whole &= not cut
        tally.reasons += cut
        tally.sources.append(candidate.name)
        return self._valid(result, start_us, end_us, tally)

    def _questions(self, candidate: Candidate, instrument: Instrument, start_us: int, end_us: int) -> list[Question]:
        since = {instrument.symbol: start_us}
        return candidate.client.source.questions(MINUTE_BARS, [instrument], since, self._clock(), end_us)

    def _ask(self, candidate: Candidate, instrument: Instrument, start_us: int, end_us: int) -> FetchResult:
        result = FetchResult()
        for question in self._questions(candidate, instrument, start_us, end_us):
            result.add(candidate.client.fetch(question))
        return result

    def _valid(self, result: FetchResult, start_us: int, end_us: int, tally: _Tally) -> list[MarketEvent]:
        for refused in result.rejected:
            self._refuse(refused, tally)
        valid = []
        for event in result.events:
            if event.kind != "bar" or event.interval_seconds != 60 or not start_us <= event.event_time < end_us:
                continue
            reason = reason_invalid(event, self._clock())
            if reason is not None:
                self._refuse(Rejected(encode(event), reason, event.source, event.symbol), tally)
            elif self._minutes.first_free(event.symbol, event.event_time) != event.event_time:
                tally.left += 1
            else:
                valid.append(event)
        return valid

    def _refuse(self, refused: Rejected, tally: _Tally) -> None:
        self._publisher.dead_letter(refused, self._clock())
        tally.refused += 1


@dataclass(slots=True)
class _Tally:
    sources: list[Source] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)
    left: int = 0
    refused: int = 0
    is_unknown: bool = True
    is_whole: bool = True
    is_too_old: bool = True


class CountingGate:
    """A gate that counts what it lets through in `calls`."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self.calls = 0

    def admit(self, source: Source, want: Want, cost: int, now_us: int) -> None:
        """See Gate."""
        self._gate.admit(source, want, cost, now_us)
        self.calls += 1

    def succeeded(self, source: Source, now_us: int, used: int | None = None) -> None:
        """See Gate."""
        self._gate.succeeded(source, now_us, used)

    def failed(self, source: Source, want: Want, error: SourceError, now_us: int) -> None:
        """See Gate."""
        self._gate.failed(source, want, error, now_us)

    def health(self, source: Source) -> Health:
        """See Gate."""
        return self._gate.health(source)

    def spare(self, source: Source, now_us: int) -> int:
        """See Gate."""
        return self._gate.spare(source, now_us)

    def close(self) -> None:
        self._gate.close()
