"""The ledger of gaps on the real tables: holes open, are filled, given up, and empty by themselves."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from include.market.event import AssetClass, MarketEvent
from include.market.gaps import Asked, Span
from include.operations.gaps import Repaired, repair_gaps
from include.storage.archive_catalogue import DayIsCold
from include.storage.gap_store import Due, GapStore
from include.storage.history_store import OtherShares
from tests.integration.quality_world import COIN, END, HALF_DAY, LIQUID, QUIET, World, clean_week, database, stream
from tests.integration.test_backfill import backfill, bars_of, lose
from tests.stores import Services

Week = dict[AssetClass, list[MarketEvent]]
OPEN = datetime(2025, 11, 28, 14, 30, tzinfo=UTC)
DAY = Span(datetime(2025, 11, 28, tzinfo=UTC), datetime(2025, 11, 28, 18, 57, tzinfo=UTC))
GAPS = "SELECT symbol, gap_start, gap_end, cause, state FROM data_gaps ORDER BY gap_start, symbol"


@pytest.fixture(scope="module")
def week() -> Week:
    return clean_week()


@pytest.fixture(scope="module")
def whole(services: Services, week: Week) -> Iterator[World]:
    with database(services, "gaps_whole") as world:
        stream(world, week)
        world.execute("UPDATE instruments SET is_collected = false WHERE symbol = %s", QUIET)
        yield world


@pytest.fixture
def world(services: Services, whole: World) -> Iterator[World]:
    with database(services, "gaps_copy", template="gaps_whole") as copy:
        yield copy


@pytest.fixture
def store(world: World) -> Iterator[GapStore]:
    with GapStore(world.writer_url) as opened:
        yield opened


def minutes(*numbers: int) -> list[int]:
    """Microseconds of minutes after the opening."""
    return [int((OPEN + timedelta(minutes=number)).timestamp()) * 1_000_000 for number in numbers]


def span(first: int, past: int) -> tuple[datetime, datetime]:
    return OPEN + timedelta(minutes=first), OPEN + timedelta(minutes=past)


def ready(world: World) -> None:
    """As if the live path had had its time."""
    world.execute("UPDATE data_gaps SET next_attempt_at = now() WHERE closed_at IS NULL")


def repair(store: GapStore, ask: Callable[[Due, Sequence[Span]], Asked], calls: int = 9) -> Repaired:
    left = iter(range(calls, -1, -1))
    return repair_gaps(store, "stock", ask, lambda: next(left), END)


def test_a_whole_week_has_no_gap(whole: World) -> None:
    with GapStore(whole.writer_url) as store:
        window = Span(datetime(2025, 11, 24, tzinfo=UTC), DAY.end)
        assert store.follow(window) == {"opened": 0, "extended": 0, "filled": 0}
        assert store.counts() == {"open": 0, "minutes": 0}


def test_holes_open_grow_shrink_and_are_filled(world: World, store: GapStore, week: Week) -> None:
    lose(world, LIQUID, minutes(10, 11, 12, 40))
    assert store.follow(DAY) == {"opened": 2, "extended": 0, "filled": 0}
    lose(world, LIQUID, minutes(13))
    assert store.follow(DAY) == {"opened": 0, "extended": 1, "filled": 0}
    assert store.follow(DAY) == {"opened": 0, "extended": 0, "filled": 0}
    assert store.counts() == {"open": 2, "minutes": 5}
    bars = bars_of(week, LIQUID, HALF_DAY)
    backfill(world, bars[11:12])
    assert store.follow(DAY) == {"opened": 0, "extended": 0, "filled": 1}
    assert world.execute(GAPS) == [
        (LIQUID, *span(10, 11), "unknown", "open"),
        (LIQUID, *span(11, 12), "unknown", "filled"),
        (LIQUID, *span(12, 14), "unknown", "open"),
        (LIQUID, *span(40, 41), "unknown", "open"),
    ]
    backfill(world, bars)
    store.follow(DAY)
    assert store.counts() == {"open": 0, "minutes": 0}
    assert {row[-1] for row in world.execute(GAPS)} == {"filled"}


def test_an_outage_says_whose_it_was(world: World, store: GapStore) -> None:
    world.execute("UPDATE instruments SET is_collected = true WHERE symbol = %s", QUIET)
    # The quiet stock has nothing in these minutes either: all stocks are missing, while the coin goes on.
    world.execute("DELETE FROM market_events WHERE asset_class = 'stock' AND event_time >= %s", OPEN)
    world.execute("DELETE FROM candles WHERE asset_class = 'stock' AND window_start >= %s", OPEN)
    store.follow(DAY, [LIQUID, QUIET])
    assert {row[3] for row in world.execute(GAPS)} == {"source outage"}
    world.execute("DELETE FROM data_gaps")
    world.execute("DELETE FROM market_events WHERE event_time >= %s - interval '2 hours'", OPEN)
    world.execute("DELETE FROM candles WHERE window_start >= %s - interval '2 hours'", OPEN)
    store.follow(DAY)
    assert {row[3] for row in world.execute(GAPS)} == {"our outage"}
    coin = world.execute("SELECT gap_start, gap_end FROM data_gaps WHERE symbol = %s", COIN)
    assert coin == [(OPEN - timedelta(hours=2), DAY.end)]


def test_a_hole_that_grows_into_an_outage_is_called_so(world: World, store: GapStore) -> None:
    def lost(first: str, last: str) -> None:
        for table, column in (("market_events", "event_time"), ("candles", "window_start")):
            world.execute(
                f"DELETE FROM {table} WHERE {column} >= '2025-11-28 {first}' AND {column} < '2025-11-28 {last}'"
            )

    lost("15:00", "15:03")
    store.follow(DAY)
    assert {row[3] for row in world.execute(GAPS)} == {"unknown"}
    lost("15:03", "15:20")
    assert store.follow(DAY) == {"opened": 0, "extended": 2, "filled": 0}
    assert {row[3] for row in world.execute(GAPS)} == {"our outage"}


def test_a_minute_in_quarantine_is_no_hole(world: World, store: GapStore) -> None:
    at = OPEN + timedelta(minutes=20)
    world.execute(
        "INSERT INTO quarantined_events (event_id, revision, event_time, symbol, asset_class, check_name, reason) "
        "SELECT event_id, revision, event_time, symbol, asset_class, 'c', 'r' FROM market_events "
        "WHERE symbol = %s AND event_time = %s",
        LIQUID,
        at,
    )
    world.execute("DELETE FROM candles WHERE symbol = %s AND window_start = %s", LIQUID, at)
    assert store.follow(DAY)["opened"] == 0


def test_what_is_due_is_the_most_valuable_first_and_not_before_its_time(world: World, store: GapStore) -> None:
    lose(world, LIQUID, minutes(*range(60)))
    monday = int(datetime(2025, 11, 24, 15, tzinfo=UTC).timestamp()) * 1_000_000
    lose(world, LIQUID, [monday + number * 60_000_000 for number in range(3)])
    store.follow(Span(datetime(2025, 11, 24, tzinfo=UTC), DAY.end))
    assert store.due("stock", 9) == []
    ready(world)
    found = store.due("stock", 9)
    assert [(due.day, due.minutes) for due in found] == [(HALF_DAY, 60), (datetime(2025, 11, 24).date(), 3)]
    assert (found[0].since, found[0].until) == span(0, 60)
    assert store.due("crypto", 9) == []


def test_what_a_source_has_fills_and_what_it_has_not_is_given_up(world: World, store: GapStore, week: Week) -> None:
    lose(world, LIQUID, minutes(*range(10, 18), 40))
    store.follow(DAY)
    ready(world)
    asked: list[Any] = []

    def ask(due: Due, spans: Sequence[Span]) -> Asked:
        asked.append((due.symbol, [tuple(each) for each in spans]))
        backfill(world, bars_of(week, LIQUID, HALF_DAY)[10:12])
        store.follow(DAY, [LIQUID], only_known=True)
        return Asked(1, 0, ("yahoo",), True, False, "")

    assert repair(store, ask) == Repaired(asked=1, calls=1, given_up=2)
    assert asked == [(LIQUID, [span(10, 18), span(40, 41)])]
    assert world.execute(GAPS) == [
        (LIQUID, *span(10, 12), "unknown", "filled"),
        (LIQUID, *span(12, 18), "halt", "unfillable"),
        (LIQUID, *span(40, 41), "no trades", "unfillable"),
    ]
    # It is remembered: neither found nor asked for again.
    assert store.follow(DAY) == {"opened": 0, "extended": 0, "filled": 0}
    ready(world)
    assert repair(store, ask) == Repaired()
    # And what comes after all, by another hand, is filled.
    backfill(world, bars_of(week, LIQUID, HALF_DAY)[10:20])
    assert store.follow(DAY)["filled"] == 1


def test_what_is_found_while_a_repair_is_on_is_not_given_up_with_it(world: World, store: GapStore) -> None:
    lose(world, LIQUID, minutes(10))
    store.follow(DAY)
    ready(world)

    def ask(due: Due, spans: Sequence[Span]) -> Asked:
        lose(world, LIQUID, minutes(5, 12, 20))
        store.follow(DAY)
        return Asked(1, 0, ("yahoo",), True, False, "")

    assert repair(store, ask).given_up == 1
    assert [(row[1], row[4]) for row in world.execute(GAPS)] == [
        (span(5, 6)[0], "open"),
        (span(10, 11)[0], "unfillable"),
        (span(12, 13)[0], "open"),
        (span(20, 21)[0], "open"),
    ]


def test_where_nobody_answers_it_is_put_off_for_longer_each_time(world: World, store: GapStore) -> None:
    lose(world, LIQUID, minutes(*range(10, 18)))
    store.follow(DAY)
    pauses = []
    for _ in range(2):
        ready(world)
        done = repair(store, lambda due, spans: Asked(0, 0, (), False, False, "yahoo: Banned: later"))
        assert (done.put_off, done.given_up) == (1, 0)
        [(state, reason, pause)] = world.execute(
            "SELECT state, reason, extract(epoch FROM next_attempt_at - now())::int FROM data_gaps"
        )
        assert (state, reason) == ("open", "yahoo: Banned: later")
        pauses.append(pause)
    assert pauses[0] > 120
    assert pauses[1] > 1.8 * pauses[0]


def test_without_quota_nobody_is_asked(world: World, store: GapStore) -> None:
    lose(world, LIQUID, minutes(*range(10, 18)))
    store.follow(DAY)
    ready(world)
    assert repair(store, lambda due, spans: pytest.fail("asked"), calls=0) == Repaired(waiting=1)


def test_a_repair_that_died_is_taken_up_again(world: World, store: GapStore) -> None:
    lose(world, LIQUID, minutes(*range(10, 18)))
    store.follow(DAY)
    ready(world)

    def dies(due: Due, spans: Sequence[Span]) -> Asked:
        raise ConnectionError("killed")

    with pytest.raises(ConnectionError):
        repair(store, dies)
    assert world.execute("SELECT state, attempts FROM data_gaps") == [("repairing", 1)]
    assert store.due("stock", 9) == []
    ready(world)
    assert len(store.due("stock", 9)) == 1


def test_a_symbol_that_no_source_knows_is_not_listed(world: World, store: GapStore) -> None:
    lose(world, LIQUID, minutes(10))
    store.follow(DAY)
    ready(world)
    nobody = Asked(0, 0, (), False, True, "AAPL has no yahoo id")
    for _ in range(7):
        assert repair(store, lambda due, spans: nobody).put_off == 1
        ready(world)
    assert repair(store, lambda due, spans: nobody).given_up == 1
    assert world.execute("SELECT cause, state, reason FROM data_gaps") == [
        ("not listed", "unfillable", "AAPL has no yahoo id")
    ]


def test_minutes_whose_trades_are_published_are_waited_for(world: World, store: GapStore) -> None:
    lose(world, LIQUID, minutes(10))
    store.follow(DAY)
    ready(world)
    left = Asked(1, 1, ("binance",), True, False, "")
    assert repair(store, lambda due, spans: left).put_off == 1
    ready(world)
    later = repair_gaps(store, "stock", lambda due, spans: left, lambda: 1, END + timedelta(days=2))
    assert later.given_up == 1


@pytest.mark.parametrize(
    ("error", "state"), [(OtherShares("390 bars are 7 times"), "open"), (DayIsCold("bring it back"), "unfillable")]
)
def test_a_gap_that_cannot_be_stored_stops_no_other(
    world: World, store: GapStore, error: Exception, state: str
) -> None:
    monday = int(datetime(2025, 11, 24, 15, tzinfo=UTC).timestamp()) * 1_000_000
    lose(world, LIQUID, [*minutes(*range(10)), monday])
    store.follow(Span(datetime(2025, 11, 24, tzinfo=UTC), DAY.end))
    ready(world)
    asked = []

    def ask(due: Due, spans: Sequence[Span]) -> Asked:
        asked.append(due.day)
        if due.day == HALF_DAY:
            raise error
        return Asked(1, 0, ("yahoo",), True, False, "")

    repair(store, ask)
    assert len(asked) == 2
    assert world.execute("SELECT state, reason FROM data_gaps WHERE gap_start >= %s", OPEN) == [(state, str(error))]


def test_a_hole_at_the_start_of_a_day_is_not_taken_for_filled(world: World, store: GapStore) -> None:
    lose(world, LIQUID, minutes(*range(10)))
    assert store.follow(DAY)["opened"] == 1
    assert store.follow(DAY, [LIQUID], only_known=True) == {"opened": 0, "extended": 0, "filled": 0}
    assert store.follow(Span(OPEN, DAY.end)) == {"opened": 0, "extended": 0, "filled": 0}


def test_sessions_are_days_in_utc(store: GapStore) -> None:
    first, last = datetime(2025, 11, 26).date(), datetime(2025, 11, 30).date()
    assert [f"{day}" for day in store.session_days("stock", first, last) or []] == ["2025-11-26", "2025-11-28"]
    assert len(store.session_days("crypto", first, last) or []) == 5
