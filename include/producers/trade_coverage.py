"""One symbol's trades in the order of their ids, each once, and the minutes that they complete. Pure.

The ids have no gaps, so a trade is passed on only when all before it were: what the websocket missed is a
hole, which is asked for by id before anything newer is passed on. What a minute claims follows from that:
a trade of a later minute proves it complete, or, where none comes, an answer that there is none.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from include.market.coverage import MINUTE_US, Coverage, minute_of
from include.market.event import MICROSECONDS, MarketEvent

#: A larger hole is left to bars, but for the minute that was begun.
LARGEST_HOLE = 20_000
PAGE_ROWS = 1_000
#: An answer holds no id further from the one asked for than this (a question and its follow-ups).
ANSWER_ROWS = 4 * PAGE_ROWS
#: So many newer trades with older ids, and it is the ids that we hold that are wrong.
SET_BACK_AFTER = 3
#: The REST side may learn of a trade this much later than the stream.
GRACE_US = 5 * MICROSECONDS


@dataclass(frozen=True, slots=True)
class Missing:
    """Trades to ask for: `count` of them from `from_id` on; the newest one alone where `from_id` is None."""

    from_id: int | None
    count: int


class TradeSequence:
    """From trades in any order (`offer`, `answered`) to trades in theirs (`take`). Times in UTC epoch microseconds.

    `held` is the symbol's newest stored coverage: if it is open, the sequence goes on where it was. What
    `take` gives must be safe before `unsaved` is stored; and until that is (`saved`), `take` gives nothing
    that lies further ahead of it than bars keep out. A trade that was refused has its id, and no event.
    """

    def __init__(self, symbol: str, held: Coverage | None, now_us: int, largest_hole: int = LARGEST_HOLE) -> None:
        self.symbol = symbol
        self._largest_hole = largest_hole
        self._coverage: Coverage | None = None
        #: The next trade to pass on; None until the first was seen.
        self._next: int | None = None
        #: Not in here, but below this id: does not exist at the venue.
        self._proven = -1
        self._waiting: dict[int, MarketEvent | None] = {}
        self._taken_us = 0
        #: Where this coverage ends: trades from there on are another's.
        self._ends_us: int | None = None
        self._safe_us = 0
        #: Up to here trades themselves have proven the minutes, and not an answer that there are none.
        self._sure_us = 0
        #: Up to here trades may have been published: what ends before would be counted twice.
        self._published_us = 0
        #: The time of the newest trade that was passed on; older ids with later times contradict ours.
        self._seen_us = 0
        self._set_back = 0
        #: Whether whoever publishes bars can know of this coverage.
        self._is_stored = True
        self._unsaved: dict[int, Coverage] = {}
        if held is not None and held.last_trade_id is not None:
            self._coverage = held
            self._next = held.last_trade_id + 1
            self._safe_us = held.reserved_through
            self._sure_us = held.covered_through
            # The last trade's own time is not kept; it lies before this.
            self._seen_us = self._published_us = held.reserved_through
            if now_us >= held.reserved_through:
                self.end()

    @property
    def coverage(self) -> Coverage | None:
        """As it is with all that was taken; None before the first trade."""
        return self._coverage

    @property
    def is_ending(self) -> bool:
        """Only what completes the begun minutes is still wanted."""
        return self._ends_us is not None

    @property
    def is_behind(self) -> bool:
        """Trades are known to be missing."""
        return self.is_ending or bool(self._waiting and not self._reachable())

    def end(self) -> None:
        """Ends the coverage where the minutes end that bars keep out of."""
        if self._coverage is not None and self._ends_us is None:
            self._ends_us = self._coverage.reserved_through

    def offer(self, trade_id: int, event: MarketEvent | None, now_us: int) -> bool:
        """A trade as it came; whether it was new."""
        if self._next is None:
            return event is not None and self._begin(trade_id, event, now_us)
        if trade_id < self._next:
            self._doubt(event)
            return False
        if trade_id in self._waiting or len(self._waiting) > self._largest_hole:
            # Beyond that many it is a hole to be asked for, and no reason to fill the memory.
            return False
        self._waiting[trade_id] = event
        return True

    def answered(self, asked: Missing, trades: Mapping[int, MarketEvent | None], asked_at_us: int) -> int:
        """All trades that the venue has from the id asked for up to the newest given; how many were new."""
        if asked.from_id is None:
            return sum(self.offer(trade_id, event, asked_at_us) for trade_id, event in trades.items())
        if self._next is None or asked.from_id > self._next:
            return 0
        if not trades:
            if asked.from_id == self._next and not self._waiting and not self._set_back:
                self._prove(minute_of(asked_at_us - GRACE_US))
            return 0
        # One wrong digit in an id must not make all that lies before it look proven.
        near = {i: event for i, event in trades.items() if asked.from_id <= i < asked.from_id + ANSWER_ROWS}
        new = {i: event for i, event in near.items() if i >= self._next and i not in self._waiting}
        self._waiting |= new
        page_end = asked.from_id + asked.count
        proving = [i for i, event in near.items() if event is not None or i < page_end]
        self._proven = max([self._proven, *proving])
        return len(new)

    def missing(self, now_us: int) -> Missing | None:
        """What to ask for: the first trade, a hole, or the proof that a quiet minute is over."""
        if self._next is None or self._coverage is None:
            return Missing(None, 1)
        if self._waiting and not self._reachable():
            first = min(self._waiting)
            self._end_if_too_far(first)
            if not self.is_ending:
                return Missing(self._next, min(first - self._next, PAGE_ROWS))
        if self.is_ending or minute_of(now_us - GRACE_US) > self._coverage.covered_through:
            return None if self._reachable() else Missing(self._next, PAGE_ROWS)
        return None

    def latest(self) -> Missing:
        """What to ask for while the stream is silent."""
        return Missing(self._next, PAGE_ROWS if self._next is not None else 1)

    def take(self, now_us: int) -> list[MarketEvent]:
        """The trades that are to be published now, in order."""
        taken: list[MarketEvent] = []
        if self._coverage is not None and not self._is_stored:
            self._begin_after(self._coverage, now_us)
        while self._next is not None and self._coverage is not None and self._reachable():
            if self._next not in self._waiting:
                self._next = min([*self._waiting, self._proven + 1])
                continue
            event = self._waiting[self._next]
            if event is not None:
                self._prove(minute_of(min(event.event_time, now_us)))
                if self._coverage is not None:
                    self._sure_us = self._coverage.covered_through
                self._set_back = 0
                if self._coverage is None or event.event_time >= self._safe_us:
                    # That it is proven must be stored before trades are published so far beyond.
                    break
                if event.event_time >= self._coverage.covered_from:
                    taken.append(event)
                    self._published_us = max(self._published_us, minute_of(event.event_time) + MINUTE_US)
                self._taken_us = self._seen_us = max(self._taken_us, event.event_time)
            del self._waiting[self._next]
            self._note(replace(self._coverage, last_trade_id=self._next))
            self._next += 1
        return taken

    def unsaved(self) -> list[Coverage]:
        """The rows to store, once what was taken is safe."""
        return list(self._unsaved.values())

    def saved(self, rows: Iterable[Coverage]) -> None:
        """These rows are stored."""
        for row in rows:
            if self._unsaved.get(row.covered_from) == row:
                del self._unsaved[row.covered_from]
            self._safe_us = max(self._safe_us, row.reserved_through)
            if self._coverage is not None and row.covered_from == self._coverage.covered_from:
                self._is_stored = True

    def _begin(self, trade_id: int, event: MarketEvent, now_us: int) -> bool:
        """Coverage begins with the next whole minute: of this one the beginning was not seen."""
        first_us = minute_of(max(event.event_time, now_us)) + MINUTE_US
        self._next = trade_id + 1
        self._proven = trade_id
        self._is_stored = False
        self._seen_us, self._sure_us, self._published_us, self._set_back = event.event_time, first_us, first_us, 0
        self._note(Coverage(self.symbol, first_us, first_us, trade_id))
        return True

    def _begin_after(self, coverage: Coverage, now_us: int) -> None:
        """A minute that may have got its bar before this was stored is not the trades' any more."""
        first_us = minute_of(now_us) + MINUTE_US
        if first_us > coverage.covered_from:
            del self._unsaved[coverage.covered_from]
            self._note(replace(coverage, covered_from=first_us, covered_through=first_us))

    def _reachable(self) -> bool:
        """Whether the next trade is here, or is known not to exist."""
        return self._next is not None and (self._next in self._waiting or self._next <= self._proven)

    def _prove(self, minute_us: int) -> None:
        """All trades before this minute were taken."""
        if self._coverage is None:
            return
        if self._ends_us is None:
            if minute_us > self._coverage.covered_through:
                self._note(replace(self._coverage, covered_through=minute_us))
        elif minute_us >= self._ends_us:
            # Not before, and not by and by: each claim of an open coverage moves what bars keep out of,
            # and behind its end there are bars already.
            self._finish(self._ends_us)

    def _doubt(self, event: MarketEvent | None) -> None:
        """A trade with an older id than the last one, and a later time. The ids grow with time at the venue:
        after a few of these the id that we go on from is wrong. What was claimed since on the strength of it
        is given back to bars, and coverage begins anew."""
        if event is None or event.event_time <= self._seen_us:
            return
        self._set_back += 1
        if self._set_back < SET_BACK_AFTER or self._coverage is None:
            return
        self._finish(max(self._coverage.covered_from, self._sure_us, self._published_us))

    def _end_if_too_far(self, first: int) -> None:
        event = self._waiting[first]
        if self._coverage is None or self._next is None or event is None or first - self._next <= self._largest_hole:
            return
        begun_us = minute_of(self._taken_us) + MINUTE_US if self._taken_us else self._coverage.reserved_through
        ends_us = max(begun_us, self._coverage.covered_through)
        if self._ends_us is None and event.event_time >= ends_us:
            self._ends_us = ends_us

    def _finish(self, ends_us: int) -> None:
        """The coverage is over; the next one begins with the next trade that is seen."""
        if self._coverage is not None:
            self._note(replace(self._coverage, covered_through=ends_us, last_trade_id=None))
        self._coverage = self._next = self._ends_us = None
        self._waiting.clear()
        self._proven, self._set_back = -1, 0
        self._taken_us = self._seen_us = self._sure_us = self._published_us = 0

    def _note(self, coverage: Coverage) -> None:
        self._coverage = coverage
        self._unsaved[coverage.covered_from] = coverage
