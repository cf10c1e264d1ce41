"""Dead letters, judged again by today's parsers and rules; what is valid now is published."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import msgspec

from include.errors import MarketDataError
from include.market.event import SOURCES, MarketEvent, decode, reason_invalid
from include.market.instrument import Catalogue
from include.producers.dead_letters import DeadLetter
from include.producers.progress import NoTrades, TradedMinutes
from include.producers.publisher import Publisher
from include.sources.base import Answer, PriceSource, Question, Want
from include.storage.refused_records import RefusedRecords

#: The source with its parser; it needs no network.
SourceByName = Callable[[str], PriceSource]


class StillBad(MarketDataError):
    """What came cannot be published by today's rules either."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one letter; `events` were published, or would be."""

    letter: DeadLetter
    events: int
    words: str


class Replay:
    """A double replay doubles nothing: the events keep their ids."""

    def __init__(
        self, source: SourceByName, instruments: Catalogue, now_us: int, minutes: TradedMinutes | None = None
    ) -> None:
        self._source = source
        self._instruments = instruments
        self._now_us = now_us
        self._minutes = minutes or NoTrades()

    def run(
        self,
        letters: Iterable[DeadLetter],
        publisher: Publisher | None,
        refused: RefusedRecords,
        *,
        force: bool = False,
    ) -> list[Outcome]:
        """One outcome a letter, recorded when its events are safe; without a publisher a dry run.

        A letter that was published before is left alone unless forced. Raises PublishError.
        """
        judged: list[Outcome] = []
        for letter in letters:
            if letter.is_published and not force:
                judged.append(Outcome(letter, 0, f"left alone: {letter.outcome}"))
                continue
            try:
                events, left = self.events(letter)
            except StillBad as error:
                judged.append(Outcome(letter, 0, f"still bad: {error}"))
                continue
            for event in events if publisher is not None else ():
                publisher.publish(event)  # type: ignore[union-attr]
            judged.append(Outcome(letter, len(events), _words(events, left, is_dry=publisher is None)))
        if publisher is not None:
            publisher.confirm()
            for outcome in judged:
                if not outcome.words.startswith("left alone"):
                    refused.record(outcome.letter.coordinates, outcome.words)
        return judged

    def events(self, letter: DeadLetter) -> tuple[list[MarketEvent], int]:
        """The valid events in a letter, and how many facts in it are still none. Raises StillBad."""
        if letter.raw_bytes > len(letter.raw):
            raise StillBad(f"only {len(letter.raw)} of {letter.raw_bytes} bytes were kept")
        if letter.asked_for == "event":
            found = [self._event(letter)]
            reasons: list[str] = []
        else:
            found, reasons = self._facts(letter)
        valid = []
        for event in found:
            reason = reason_invalid(event, self._now_us)
            if reason is None and self._is_traded(event):
                reason = "its minute is made of trades"
            if reason is None:
                valid.append(event)
            else:
                reasons.append(reason)
        if not valid:
            raise StillBad(reasons[0] if reasons else "there is no fact in it")
        return valid, len(reasons)

    def _is_traded(self, event: MarketEvent) -> bool:
        is_minute = event.kind == "bar" and event.interval_seconds == 60
        return is_minute and self._minutes.first_free(event.symbol, event.event_time) != event.event_time

    def _event(self, letter: DeadLetter) -> MarketEvent:
        try:
            return decode(letter.raw)
        except msgspec.DecodeError as error:
            raise StillBad(str(error)) from error

    def _facts(self, letter: DeadLetter) -> tuple[list[MarketEvent], list[str]]:
        """What the source's parser makes of a body today, and its reasons for the rest."""
        if letter.source not in SOURCES:
            raise StillBad(f"{letter.source or 'nobody'} is no source of ours")
        source = self._source(letter.source)
        want = _want(source, letter.asked_for)
        instruments = tuple(
            instrument
            for instrument in self._instruments
            if letter.source in instrument.ids and letter.symbol in ("", instrument.symbol)
        )
        if not instruments:
            raise StillBad(f"{letter.symbol} has no {letter.source} id in config/instruments.yaml")
        question = Question(want, instruments, path="", params={})
        try:
            result = source.read(question, Answer(200, {}, letter.raw), self._now_us)
        except MarketDataError as error:
            raise StillBad(f"{type(error).__name__}: {error}") from error
        dropped = [f"{count} dropped: {reason}" for reason, count in result.dropped.items()]
        return result.events, [*(rejected.reason for rejected in result.rejected), *dropped]


def _want(source: PriceSource, name: str) -> Want:
    for capability in source.declaration.capabilities:
        for want in (capability.want, *capability.carries):
            if want.name == name:
                return want
    raise StillBad(f"the letter does not say what was asked for ({name or 'nothing'})")


def _words(events: list[MarketEvent], left: int, *, is_dry: bool) -> str:
    verb = "would publish" if is_dry else "published"
    rest = f", {left} still bad" if left else ""
    return f"{verb} {len(events)} event{'s' if len(events) != 1 else ''}{rest}"
