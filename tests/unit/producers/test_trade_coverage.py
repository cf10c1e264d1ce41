"""A symbol's trades in order: whatever the websocket brings, loses, repeats or reorders, and whenever the
process is killed, what is published of covered minutes is exactly what the venue has."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from include.market.coverage import MINUTE_US, RESERVED_US, Coverage, first_free, minute_of
from include.market.event import MICROSECONDS, MarketEvent, trade
from include.producers.trade_coverage import GRACE_US, Missing, TradeSequence

START_US = 1_700_000_040 * MICROSECONDS // MINUTE_US * MINUTE_US
SYMBOL = "BTC-USD"


def made(trade_id: int, time_us: int) -> MarketEvent:
    return trade(
        symbol=SYMBOL,
        asset_class="crypto",
        source="binance",
        trade_id=trade_id,
        time=time_us,
        price=Decimal(100 + trade_id % 7),
        volume=Decimal(1),
        currency="USDT",
        ingested_at=time_us,
    )


def id_of(event: MarketEvent) -> int:
    return int(event.event_id.rpartition(":")[2])


def test_coverage_begins_with_the_next_whole_minute_and_ids_go_out_once_in_order() -> None:
    sequence = Flushed(SYMBOL, None, START_US)
    sequence.stored = {}
    for trade_id, second in ((10, 20), (11, 59), (13, 61), (12, 60), (12, 60), (14, 62)):
        sequence.offer(trade_id, made(trade_id, START_US + second * MICROSECONDS), START_US + 62 * MICROSECONDS)
    # At the second 62 the running minute is the one from 60 on: the next is covered.
    assert flush(sequence, START_US + 62 * MICROSECONDS) == []
    sequence.offer(15, made(15, START_US + 121 * MICROSECONDS), START_US + 121 * MICROSECONDS)
    assert flush(sequence, START_US + 121 * MICROSECONDS) == [15]
    assert sequence.coverage == Coverage(SYMBOL, START_US + 2 * MINUTE_US, START_US + 2 * MINUTE_US, 15)


def test_a_hole_is_asked_for_by_id_and_holds_back_what_is_newer() -> None:
    sequence = begun()
    now = START_US + MINUTE_US + 3 * MICROSECONDS
    sequence.offer(4, made(4, now), now)
    assert sequence.missing(now) == Missing(1, 3)
    assert flush(sequence, now) == []
    sequence.answered(Missing(1, 3), {i: made(i, now) for i in (1, 2, 3)}, now)
    assert sequence.missing(now) is None
    assert flush(sequence, now) == [1, 2, 3, 4]


def test_an_id_that_the_venue_does_not_have_is_not_asked_for_for_ever() -> None:
    sequence = begun()
    now = START_US + MINUTE_US + 3 * MICROSECONDS
    sequence.offer(4, made(4, now), now)
    sequence.answered(Missing(1, 3), {1: made(1, now), 3: None}, now)
    assert flush(sequence, now) == [1, 4]


def test_a_quiet_minute_is_complete_once_the_venue_says_so() -> None:
    sequence = begun()
    over = START_US + 2 * MINUTE_US + GRACE_US
    assert sequence.missing(over - 1) is None
    asked = sequence.missing(over)
    assert asked == Missing(1, 1000)
    sequence.answered(asked, {}, over)
    assert sequence.missing(over) is None
    assert sequence.coverage is not None
    assert sequence.coverage.covered_through == START_US + 2 * MINUTE_US


def test_a_hole_that_is_too_large_ends_the_coverage_with_the_begun_minute() -> None:
    sequence = begun(largest_hole=10)
    now = START_US + MINUTE_US + 3 * MICROSECONDS
    sequence.offer(1, made(1, now), now)
    assert flush(sequence, now) == [1]
    later = START_US + 9 * MINUTE_US
    sequence.offer(500, made(500, later), later)
    assert sequence.missing(later) == Missing(2, 1000)
    page = {i: made(i, START_US + MINUTE_US + i * 10 * MICROSECONDS) for i in range(2, 9)}
    sequence.answered(Missing(2, 1000), page, later)
    # Trades 6 and later are not of the begun minute any more.
    assert flush(sequence, later) == [2, 3, 4, 5]
    assert sequence.coverage is None
    assert sequence.stored[START_US + MINUTE_US].covered_through == START_US + 2 * MINUTE_US
    assert not sequence.stored[START_US + MINUTE_US].is_open
    assert first_free(sequence.stored.values(), START_US, is_streaming=True) == START_US


def test_trades_are_published_no_further_ahead_of_the_stored_claim_than_bars_keep_out() -> None:
    sequence = begun()
    far = START_US + MINUTE_US + RESERVED_US + 30 * MICROSECONDS
    sequence.offer(1, made(1, far), far)
    assert sequence.take(far) == []
    assert sequence.unsaved()[0].covered_through == minute_of(far)
    assert sequence.take(far) == [], "not before the claim is stored"
    sequence.saved(sequence.unsaved())
    assert [id_of(event) for event in sequence.take(far)] == [1]


def test_bars_fill_what_is_not_the_trades() -> None:
    ended = Coverage(SYMBOL, 10 * MINUTE_US, 20 * MINUTE_US, None)
    opened = Coverage(SYMBOL, 30 * MINUTE_US, 40 * MINUTE_US, 7)
    free = [first_free([opened, ended], minute * MINUTE_US, is_streaming=True) for minute in (5, 10, 19, 20, 29)]
    assert free == [minute * MINUTE_US for minute in (5, 20, 20, 20, 29)]
    assert first_free([opened, ended], 30 * MINUTE_US, is_streaming=True) is None
    assert first_free([opened, ended], 30 * MINUTE_US, is_streaming=False) == 40 * MINUTE_US + RESERVED_US
    assert first_free([], 5, is_streaming=True) == 5


class Flushed(TradeSequence):
    """With the rows that were stored."""

    stored: dict[int, Coverage]


def begun(largest_hole: int = 20_000) -> Flushed:
    """Covering from START_US + a minute, trade 0 seen."""
    sequence = Flushed(SYMBOL, None, START_US, largest_hole)
    sequence.stored = {}
    sequence.offer(0, made(0, START_US), START_US)
    flush(sequence, START_US)
    return sequence


def flush(sequence: Flushed, now_us: int) -> list[int]:
    taken = sequence.take(now_us)
    rows = sequence.unsaved()
    sequence.stored |= {row.covered_from: row for row in rows}
    sequence.saved(rows)
    return [id_of(event) for event in taken]


@dataclass
class World:
    """A venue, a stream in front of it that may be killed, a poller of bars, and what they published."""

    trades: dict[int, MarketEvent]
    largest_hole: int
    now: int = START_US
    rows: dict[int, Coverage] = field(default_factory=dict)
    published: list[int] = field(default_factory=list)
    barred: set[int] = field(default_factory=set)
    bars_from: int = START_US
    sequence: TradeSequence | None = None
    #: Trades that the websocket has sent or lost.
    sent: int = 0

    def do(self, step: str, value: Any) -> None:
        if step == "wait":
            self.now += value * MICROSECONDS
        elif step == "bars":
            self.poll_bars()
        elif step == "kill":
            self.sequence = None
        elif self.sequence is None:
            self.start()
        else:
            {"stream": self.stream, "ask": self.ask, "write": self.write}[step](value)

    def start(self) -> None:
        held = max(self.rows.values(), key=lambda row: row.covered_from, default=None)
        self.sequence = TradeSequence(SYMBOL, held, self.now, self.largest_hole)
        self.sent = self.made_by_now()

    def made_by_now(self) -> int:
        return sum(event.event_time <= self.now for event in self.trades.values())

    def stream(self, how: tuple[bool, set[int]]) -> None:
        """What was traded since, but for some places, in order or backwards, the last trades once more."""
        backwards, lost = how
        assert self.sequence is not None
        fresh = range(max(0, self.sent - 2), self.made_by_now())
        self.sent = self.made_by_now()
        for place, i in enumerate(reversed(fresh) if backwards else fresh):
            if place not in lost:
                self.sequence.offer(i, self.trades[i], self.now)

    def write(self, dies: str) -> None:
        """One write, which a kill may cut short."""
        assert self.sequence is not None
        taken = [id_of(event) for event in self.sequence.take(self.now)]
        rows = self.sequence.unsaved()
        assert taken == sorted(set(taken))
        if dies == "before publishing":
            self.sequence = None
            return
        self.published += taken
        if dies == "before storing":
            self.sequence = None
            return
        self.rows |= {row.covered_from: row for row in rows}
        self.sequence.saved(rows)

    def ask(self, how: tuple[int, bool]) -> None:
        page, always = how
        assert self.sequence is not None
        asked = self.sequence.missing(self.now) or (self.sequence.latest() if always else None)
        if asked is None:
            return
        made_by = self.made_by_now()
        if asked.from_id is None:
            answer = dict(list(self.trades.items())[:made_by][-1:])
        else:
            ids = range(asked.from_id, min(made_by, asked.from_id + min(asked.count, page)))
            answer = {i: self.trades[i] for i in ids}
        self.sequence.answered(asked, answer, self.now)

    def poll_bars(self) -> None:
        """As the poller does: every closed minute that is free, once."""
        while True:
            free = first_free(self.rows.values(), self.bars_from, is_streaming=self.sequence is not None)
            if free is None or free + MINUTE_US > self.now:
                return
            self.barred.add(free)
            self.bars_from = free + MINUTE_US

    def check(self) -> None:
        covered = {
            minute for row in self.rows.values() for minute in range(row.covered_from, row.covered_through, MINUTE_US)
        }
        wanted = {i for i, event in self.trades.items() if minute_of(event.event_time) in covered}
        assert wanted <= set(self.published), "a covered minute lacks a trade"
        assert not covered & self.barred, "a minute has its bar and its trades"
        traded = {minute_of(self.trades[i].event_time) for i in self.published}
        assert not traded & self.barred, "a minute has its bar and some of its trades"


def venue(gaps: list[int]) -> dict[int, MarketEvent]:
    """Trades by id, so far apart (microseconds), from a minute before the start."""
    trades, time_us = {}, START_US - MINUTE_US
    for trade_id, gap in enumerate(gaps):
        time_us += gap
        trades[trade_id] = made(trade_id, time_us)
    return trades


seconds = st.integers(0, 40)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("wait"), st.one_of(seconds, st.integers(60, 500))),
        st.tuples(st.just("stream"), st.tuples(st.booleans(), st.sets(st.integers(0, 12)))),
        st.tuples(st.just("ask"), st.tuples(st.integers(1, 20), st.booleans())),
        st.tuples(st.just("write"), st.sampled_from(["", "", "", "", "before publishing", "before storing"])),
        st.tuples(st.just("bars"), st.just(0)),
        st.tuples(st.just("kill"), st.just(0)),
    ),
    max_size=80,
)


@settings(max_examples=300, deadline=None)
@given(
    gaps=st.lists(st.one_of(st.integers(0, 3_000_000), st.integers(0, 400_000_000)), min_size=1, max_size=80),
    steps=steps,
    largest_hole=st.sampled_from([3, 10, 20_000]),
)
@example(gaps=[0], steps=[("stream", (False, set())), ("wait", 120), ("bars", 0)], largest_hole=3)
@example(
    gaps=[0, 180_000_000],
    steps=[
        *(("wait", 33), ("stream", (False, set())), ("write", ""), ("kill", 0), ("wait", 387), ("bars", 0)),
        *(("start", 0), ("stream", (False, set())), ("write", ""), ("kill", 0)),
    ],
    largest_hole=3,
)
def test_covered_minutes_are_exactly_the_venues(
    gaps: list[int], steps: list[tuple[str, Any]], largest_hole: int
) -> None:
    world = World(venue(gaps), largest_hole)
    world.start()
    for step, value in steps:
        world.do(step, value)
        world.check()
    # Whatever happened: a stream that runs on undisturbed makes everything whole.
    if world.sequence is None:
        world.start()
    for _ in range(600):
        world.ask((20, True))
        world.write("")
        world.poll_bars()
        world.check()
        world.now += 2 * MICROSECONDS
    last = max(world.rows.values(), key=lambda row: row.covered_from)
    assert last.covered_through >= minute_of(world.now) - 2 * MINUTE_US
    assert last.is_open


def test_one_wrong_id_does_not_make_the_trades_before_it_look_taken() -> None:
    sequence = begun()
    now = START_US + MINUTE_US + 3 * MICROSECONDS
    sequence.answered(Missing(1, 1000), {1: made(1, now), 2: made(2, now), 10**12: None}, now)
    assert flush(sequence, now) == [1, 2]
    sequence.offer(3, made(3, now + 1), now)
    assert flush(sequence, now) == [3]


def test_where_the_ids_were_wrong_from_the_first_the_minutes_are_given_back_and_it_begins_anew() -> None:
    sequence = Flushed(SYMBOL, None, START_US)
    sequence.stored = {}
    sequence.offer(10**9, made(10**9, START_US), START_US)
    flush(sequence, START_US)
    over = START_US + 4 * MINUTE_US
    asked = sequence.missing(over + GRACE_US)
    assert asked is not None
    sequence.answered(asked, {}, over + GRACE_US)
    flush(sequence, over)
    assert sequence.stored[START_US + MINUTE_US].covered_through > START_US + MINUTE_US, "a quiet venue, as it seemed"
    for trade_id in (100, 101, 102):
        sequence.offer(trade_id, made(trade_id, over + trade_id), over + trade_id)
    flush(sequence, over + 200)
    given_back = sequence.stored[START_US + MINUTE_US]
    assert (given_back.covered_through, given_back.last_trade_id) == (START_US + MINUTE_US, None)
    for trade_id, seconds in ((103, 10), (104, 70)):
        late = over + seconds * MICROSECONDS
        sequence.offer(trade_id, made(trade_id, late), late)
        taken = flush(sequence, late)
    assert taken == [104]


def test_an_old_trade_that_comes_again_is_no_reason_for_doubt() -> None:
    sequence = begun()
    now = START_US + MINUTE_US + 3 * MICROSECONDS
    for trade_id in (1, 2, 3):
        sequence.offer(trade_id, made(trade_id, now + trade_id), now)
    assert flush(sequence, now + 10) == [1, 2, 3]
    for _ in range(5):
        sequence.offer(2, made(2, now + 2), now)
    sequence.offer(4, made(4, now + 4), now)
    assert flush(sequence, now + 10) == [4]
