"""How one kind of fact is fetched: source after source, until every instrument has its answer."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import structlog

from include.errors import BadPayload, EmptyRange, SourceError, Stale, SymbolUnknown
from include.market.event import MICROSECONDS, Source
from include.market.instrument import Instrument
from include.producers.batch import Batch
from include.producers.failover import Candidate, SourceChain, Switch
from include.producers.progress import Progress, is_slow
from include.sources.base import END_OF_DAY, MINUTE_US, Clock, FetchResult, Question, Want
from include.sources.client import rejected
from include.sources.gate import Gate

#: A probe asks for the last few minutes only.
PROBE_US = 5 * MINUTE_US

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Rules:
    """What a poll goes by. `is_open` says whether the asset class trades at a time (microseconds)."""

    progress: Progress
    stale_us: int
    is_open: Callable[[int], bool]
    clock: Clock


@dataclass(slots=True)
class _Outcome:
    """How one source did: who was answered, who was not and why, how new the newest fact is."""

    newest_us: int
    answered: list[Instrument] = field(default_factory=list)
    failed: dict[str, SourceError] = field(default_factory=dict)

    def saw(self, result: FetchResult) -> None:
        for event in result.events:
            self.newest_us = max(self.newest_us, event.event_time + event.interval_seconds * MICROSECONDS)


class Poll:
    """One poll; kinds of fact are fetched one after the other, and an answer may carry two."""

    def __init__(self, rules: Rules, batch: Batch, gate: Gate) -> None:
        self.switches: list[Switch] = []
        self.errors: list[SourceError] = []
        self.answered = False
        self._rules = rules
        self._batch = batch
        self._gate = gate
        #: By want, the symbols that another want's answer has served, and who gave it.
        self._carried: defaultdict[Want, dict[str, Source]] = defaultdict(dict)
        self._unknown: defaultdict[Source, set[str]] = defaultdict(set)

    def serve(self, chain: SourceChain, instruments: Sequence[Instrument]) -> None:
        """Asks the sources in the chain's order; each is asked for what those before it did not give."""
        carried = self._carried[chain.want]
        needing = [instrument for instrument in instruments if instrument.symbol not in carried]
        reason = "recovered"
        if not needing:
            self.switches += [switch for name in set(carried.values()) for switch in chain.carried_by(name, reason)]
            return
        self._probe(chain, needing)
        newest_us = -1
        for candidate in chain.order():
            since = self._rules.progress.since(chain, candidate, self._batch, needing, self._rules.clock())
            if not since:
                # All have their answer, or nothing can be new since the last one.
                break
            outcome = self._ask(candidate, chain.want, needing, since)
            stale = self._judged(candidate, chain.want, outcome)
            # Who stands still serves no longer, but where nobody has newer figures, nothing is switched.
            if outcome.answered and outcome.newest_us > newest_us:
                if stale is None:
                    self.switches += filter(None, [chain.served_by(candidate, reason)])
                newest_us = outcome.newest_us
            if stale is not None:
                reason = f"Stale: {stale}"
                continue
            needing = [instrument for instrument in needing if instrument.symbol in outcome.failed]
            reason = next((f"{type(e).__name__}: {e}" for e in outcome.failed.values()), reason)

    def _ask(
        self, candidate: Candidate, want: Want, instruments: Sequence[Instrument], since: Mapping[str, int]
    ) -> _Outcome:
        """All instruments of one source; what comes is taken as it comes. `failed` has those for whom
        another source may have an answer."""
        outcome = _Outcome(newest_us=max(since.values()))
        tally = self._batch.tallies[candidate.name]
        asked = [instrument for instrument in instruments if instrument.symbol in since]
        tally.requested |= dict.fromkeys(instrument.symbol for instrument in asked)
        questions = self._questions(candidate, want, asked, since)
        for number, question in enumerate(questions):
            try:
                result = candidate.client.fetch(question)
            except EmptyRange:
                result = FetchResult()
            except SourceError as error:
                # What the gate refuses now it refuses for the rest too.
                met = questions[number : number + 1] if error.asked else questions[number:]
                meeting = [instrument for one in met for instrument in one.instruments]
                self._fail(candidate, meeting, want, error)
                symbols = [instrument.symbol for instrument in meeting]
                if isinstance(error, SymbolUnknown):
                    self._unknown[candidate.name].update(symbols)
                else:
                    outcome.failed |= dict.fromkeys(symbols, error)
                if not error.asked:
                    break
                continue
            self.answered = True
            outcome.answered += question.instruments
            outcome.saw(result)
            self._take(candidate, result)
        for carried in candidate.capability.carries:
            self._carried[carried] |= {one.symbol: candidate.name for one in outcome.answered}
        if is_slow(candidate, want):
            for instrument in outcome.answered:
                self._batch.move(candidate.name, f"asked:{want.name}", instrument.symbol, self._rules.clock())
        return outcome

    def _questions(
        self, candidate: Candidate, want: Want, instruments: Sequence[Instrument], since: Mapping[str, int]
    ) -> list[Question]:
        """What to ask; an instrument that the source has no name for, or has just said not to know, is
        left out: for it nobody else is asked either."""
        unknown = self._unknown[candidate.name]
        for instrument in instruments:
            if candidate.name not in instrument.ids and instrument.symbol not in unknown:
                error = SymbolUnknown(f"{instrument.symbol} has no {candidate.name} id in config/instruments.yaml")
                self._fail(candidate, [instrument], want, error)
                unknown.add(instrument.symbol)
        known = [instrument for instrument in instruments if instrument.symbol not in unknown]
        return candidate.client.source.questions(want, known, since, self._rules.clock()) if known else []

    def _take(self, candidate: Candidate, result: FetchResult) -> None:
        is_traded = self._rules.progress.is_traded
        events = [e for e in result.events if e.interval_seconds != 60 or not is_traded(e.symbol, e.event_time)]
        result.dropped["covered by trades"] += len(result.events) - len(events)
        result.events = events
        self._batch.take(candidate.name, result, self._rules.clock())

    def _fail(self, candidate: Candidate, instruments: Sequence[Instrument], want: Want, error: SourceError) -> None:
        self.errors.append(error)
        self._batch.fail(candidate.name, instruments, want, error, self._rules.clock())

    def _probe(self, chain: SourceChain, instruments: Sequence[Instrument]) -> None:
        """Asks the better sources for one instrument, to learn whether they have recovered."""
        now_us = self._rules.clock()
        start_us = (now_us - PROBE_US) // MINUTE_US * MINUTE_US
        for candidate in chain.to_probe():
            known = [instrument for instrument in instruments if candidate.name in instrument.ids][:1]
            since = {instrument.symbol: start_us for instrument in known}
            for question in candidate.client.source.questions(chain.want, known, since, now_us):
                outcome = _Outcome(newest_us=0, answered=list(known))
                try:
                    outcome.saw(candidate.client.fetch(question))
                except SourceError as error:
                    log.info("source.probed", source=candidate.name, error=type(error).__name__, reason=str(error))
                    if isinstance(error, BadPayload):
                        refused = FetchResult(rejected=[rejected(error, question, candidate.name)])
                        self._batch.take(candidate.name, refused, now_us)
                else:
                    stale = self._judged(candidate, chain.want, outcome)
                    log.info("source.probed", source=candidate.name, stale=stale is not None)

    def _judged(self, candidate: Candidate, want: Want, outcome: _Outcome) -> Stale | None:
        """Stale: it answers, its market is open, and its newest fact is too old."""
        now_us = self._rules.clock()
        delay = candidate.capability.delay_seconds
        oldest_us = now_us - self._rules.stale_us - delay * MICROSECONDS
        if not outcome.answered or max(delay, want.seconds) >= END_OF_DAY or outcome.newest_us >= oldest_us:
            return None
        if not (self._rules.is_open(now_us) and self._rules.is_open(oldest_us)):
            return None
        stale = Stale(f"{candidate.name} has had nothing new for {(now_us - outcome.newest_us) // MICROSECONDS} s")
        self.errors.append(stale)
        self._gate.failed(candidate.name, want, stale, now_us)
        return stale
