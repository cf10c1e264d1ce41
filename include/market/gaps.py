"""Holes in a series of minutes, and how the ledger of gaps follows them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal, NamedTuple

Cause = Literal["our outage", "source outage", "halt", "no trades", "not listed", "unknown"]
State = Literal["open", "repairing", "filled", "unfillable"]

MINUTE = timedelta(minutes=1)
#: Shorter holes are most often minutes without a trade; longer, trading stood still, or somebody was away.
FEW = timedelta(minutes=5)


class Span(NamedTuple):
    """Minutes from `start` to before `end`, in UTC."""

    start: datetime
    end: datetime

    @property
    def minutes(self) -> int:
        return (self.end - self.start) // MINUTE

    @property
    def each(self) -> list[datetime]:
        """Its minutes."""
        return [self.start + number * MINUTE for number in range(self.minutes)]


@dataclass(frozen=True, slots=True)
class Gap:
    """A row of data_gaps that is not filled."""

    id: int
    span: Span
    state: State


@dataclass(frozen=True, slots=True)
class Asked:
    """What came of asking for gaps: calls, who answered, whether with all that they have, or why nobody did.

    `left`: minutes whose bar came and is not wanted, for their trades are published.
    """

    calls: int
    left: int
    sources: tuple[str, ...]
    is_whole: bool
    is_unknown: bool
    reason: str


@dataclass(slots=True)
class Changes:
    """What is to be written so that the rows tell of the missing minutes, each once.

    `shrunk`: a row and the spans that are left of it, none where all is there; `filled`: with it, the spans that are
    no longer missing; `extended`: a row and its new end; `opened`: holes that no row tells of.
    """

    opened: list[Span] = field(default_factory=list)
    extended: list[tuple[int, datetime]] = field(default_factory=list)
    shrunk: list[tuple[int, list[Span]]] = field(default_factory=list)
    filled: list[tuple[int, list[Span]]] = field(default_factory=list)


def spans_of(minutes: Iterable[datetime]) -> list[Span]:
    """Consecutive minutes of a UTC day together; they come in order."""
    spans: list[Span] = []
    for minute in minutes:
        if spans and spans[-1].end == minute and not _begins_a_day(minute):
            spans[-1] = Span(spans[-1].start, minute + MINUTE)
        else:
            spans.append(Span(minute, minute + MINUTE))
    return spans


def without(spans: Sequence[Span], others: Iterable[Span]) -> list[Span]:
    """The parts of `spans` that lie in none of the others."""
    left = list(spans)
    for other in others:
        cut: list[Span] = []
        for span in left:
            before = Span(span.start, min(span.end, other.start))
            after = Span(max(span.start, other.end), span.end)
            if other.end <= span.start or other.start >= span.end:
                cut.append(span)
            else:
                cut += [part for part in (before, after) if part.end > part.start]
        left = cut
    return left


def within(spans: Sequence[Span], other: Span) -> list[Span]:
    """The parts of `spans` that lie in the other."""
    cut = (Span(max(span.start, other.start), min(span.end, other.end)) for span in spans)
    return [span for span in cut if span.end > span.start]


def changes(
    missing: Sequence[Span], known: Sequence[Gap], window: Span, expected_from: datetime | None = None
) -> Changes:
    """From what the ledger knows to what is missing in the window; beyond it nothing is said.

    What lies before `expected_from` is missing, and no row is made for it.
    """
    found = Changes()
    for gap in known:
        looked_at = within([gap.span], window)
        there = without(looked_at, missing)
        if there:
            found.filled.append((gap.id, there))
            found.shrunk.append((gap.id, without([gap.span], there)))
    changed = {id_ for id_, _ in found.filled}
    growing = {gap.span.end: gap.id for gap in known if gap.state == "open" and gap.id not in changed}
    unknown = without(missing, [gap.span for gap in known])
    for span in unknown if expected_from is None else within(unknown, Span(expected_from, window.end)):
        # What goes on at the end of an open gap is the same hole; but a hole is of one day, as a backfill is.
        if span.start in growing and not _begins_a_day(span.start):
            found.extended.append((growing[span.start], span.end))
        else:
            found.opened.append(span)
    return found


def _begins_a_day(minute: datetime) -> bool:
    return minute.hour == minute.minute == 0
