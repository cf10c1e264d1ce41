"""What is held does not count, what is released counts again, and the tables are as if it had always been so."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import psycopg
import pytest
from psycopg.rows import dict_row

from include.market.event import ASSET_CLASSES, AssetClass, MarketEvent
from include.quality.suites import Check
from include.storage.cache import CacheManager
from include.storage.quarantine import Choice, decide, held, hold, waits
from include.storage.stream_store import StreamStore
from spark_jobs.recompute import apply_quarantine, repair_indicators
from tests.integration.archive_days import COLD_DAY
from tests.integration.quality_world import END, LIQUID, Delivery, World, clean_week, database
from tests.stores import Services

SINCE = datetime(2025, 11, 28, tzinfo=UTC)
BAD_TIME = int(datetime(2025, 11, 28, 16, 30, tzinfo=UTC).timestamp()) * 1_000_000
TABLES = {
    "candles": "SELECT symbol, interval, window_start, open, high, low, close, volume, vwap, event_count, source "
    "FROM candles ORDER BY 1, 2, 3",
    "indicators": "SELECT symbol, interval, window_start, sma_20, ema_12, ema_26, bollinger_upper, bollinger_lower, "
    "volatility_20, log_return FROM indicators ORDER BY 1, 2, 3",
    "anomalies": "SELECT symbol, interval, window_start, metric, z_score, severity FROM price_anomalies "
    "ORDER BY 1, 2, 3, 4",
}
_numbers = itertools.count()

Events = dict[AssetClass, list[MarketEvent]]


@dataclass
class Stream:
    """A world and the driver that writes into it, half by half."""

    world: World
    delivery: Delivery

    def recompute(self) -> None:
        """As `spark_jobs/recompute.py --quarantine` does it."""
        store = StreamStore(self.world.writer_url, 0)
        apply_quarantine(store, timedelta(minutes=10), CacheManager(self.world.redis_url))
        repair_indicators(store)
        store.close()

    def rows(self) -> dict[str, list[tuple[Any, ...]]]:
        return {name: self.world.execute(query) for name, query in TABLES.items()}


@pytest.fixture
def start(services: Services) -> Iterator[Callable[[], Stream]]:
    """Streams of their own, each on a database of its own."""
    opened: list[Any] = []

    def made() -> Stream:
        context = database(services, f"quarantine_{next(_numbers)}")
        world = context.__enter__()
        delivery = Delivery(world)
        opened.append((context, delivery))
        return Stream(world, delivery)

    yield made
    for context, delivery in opened:
        delivery.close()
        context.__exit__(None, None, None)


def with_bad_bar() -> tuple[Events, MarketEvent]:
    """The week with one bar that fell to six cents and came back."""
    week = clean_week()
    place = next(
        number for number, event in enumerate(week["stock"]) if (event.symbol, event.event_time) == (LIQUID, BAD_TIME)
    )
    bad = msgspec.structs.replace(
        week["stock"][place], low=Decimal("0.06"), close=Decimal("0.07"), open=Decimal("0.07")
    )
    week["stock"][place] = bad
    return week, bad


def without(week: Events, event: MarketEvent) -> Events:
    return {asset_class: [each for each in listed if each is not event] for asset_class, listed in week.items()}


def halves(week: Events) -> tuple[Events, Events]:
    """Until half an hour after the bad bar, and the rest."""
    cut = BAD_TIME + 30 * 60_000_000
    return tuple(
        {name: [event for event in listed if (event.event_time <= cut) == early] for name, listed in week.items()}
        for early in (True, False)
    )  # type: ignore[return-value]


def assert_equal(found: dict[str, list[tuple[Any, ...]]], expected: dict[str, list[tuple[Any, ...]]]) -> None:
    assert found["candles"] == expected["candles"]
    for name in ("indicators", "anomalies"):
        assert len(found[name]) == len(expected[name]), name
        for row, wanted in zip(found[name], expected[name], strict=True):
            assert all(map(is_equal, row, wanted)), f"{name}: {row} instead of {wanted}"


def is_equal(one: object, other: object) -> bool:
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=1e-9)
    return one == other


def holder(world: World, run_id: str = "run") -> Callable[[Check, Any], int]:
    def hold_rows(check: Check, rows: Any) -> int:
        with psycopg.connect(world.checker_url, autocommit=True) as connection:
            return hold(connection, rows, check.name, check.reason, run_id)

    return hold_rows


def test_a_held_row_does_not_count_and_a_released_one_counts_again(start: Callable[[], Stream], tmp_path: Path) -> None:
    week, bad = with_bad_bar()
    early, late = halves(week)
    disturbed, never, undisturbed = start(), start(), start()
    disturbed.delivery.write(early)
    report = disturbed.world.check(tmp_path, SINCE, END, suites=["market_events"], hold=holder(disturbed.world))
    assert "market_events_wicks_plausible" in {each.check_name for each in report.failed("critical")}
    assert report.held == 1
    [row] = held(disturbed.world.checker_url, Choice())
    assert row["event_id"] == bad.event_id
    # The stream goes on, in the same windows too, before the candles are counted again.
    disturbed.delivery.write(late)
    disturbed.recompute()
    for name, listed in (("never", without(week, bad)), ("undisturbed", week)):
        {"never": never, "undisturbed": undisturbed}[name].delivery.write(listed)
    assert_equal(disturbed.rows(), never.rows())
    checked = disturbed.world.check(tmp_path, SINCE, END, suites=["candles", "indicators", "price_anomalies"])
    assert [(each.check_name, each.failing_keys) for each in checked.checks if not each.passed] == []
    assert disturbed.world.execute("SELECT count(*) FROM market_events") == undisturbed.world.execute(
        "SELECT count(*) FROM market_events"
    ), "nothing is deleted"

    assert decide(disturbed.world.writer_url, Choice(symbols=(LIQUID,)), "released", by="me", run="run", note="n") == 1
    disturbed.recompute()
    assert_equal(disturbed.rows(), undisturbed.rows())
    # What a person has released is not held again by the same check.
    again = disturbed.world.check(tmp_path, SINCE, END, suites=["market_events"], hold=holder(disturbed.world))
    assert (again.held, again.failed("critical")) == (0, []), "what is decided is no finding any more"
    assert held(disturbed.world.checker_url, Choice()) == []


def test_a_dropped_row_stays_in_its_table_and_never_counts(start: Callable[[], Stream], tmp_path: Path) -> None:
    week, bad = with_bad_bar()
    stream, never = start(), start()
    stream.delivery.write(week)
    never.delivery.write(without(week, bad))
    stream.world.check(tmp_path, SINCE, END, suites=["market_events"], hold=holder(stream.world))
    stream.recompute()
    assert decide(stream.world.writer_url, Choice(check_name="no_such_check"), "dropped", by="me", run="r") == 0
    assert decide(stream.world.writer_url, Choice(), "dropped", by="me", run="r", note="a bad print") == 1
    stream.recompute()
    assert_equal(stream.rows(), never.rows())
    assert stream.world.execute("SELECT state, decided_by, note FROM quarantined_events") == [
        ("dropped", "me", "a bad print")
    ]
    again = stream.world.check(tmp_path, SINCE, END, suites=["market_events"], hold=holder(stream.world))
    assert (again.held, again.failed("critical")) == (0, [])
    assert stream.world.execute("SELECT low FROM market_events WHERE event_id = %s", bad.event_id) == [
        (Decimal("0.06"),)
    ]


def test_the_anomaly_of_a_held_row_is_withdrawn_on_the_topic(start: Callable[[], Stream], tmp_path: Path) -> None:
    week, _ = with_bad_bar()
    stream = start()
    stream.delivery.write(week)
    key = "FROM price_anomalies WHERE symbol = %s AND window_start = '2025-11-28 16:30+00' AND interval = '1m'"
    assert stream.world.execute(f"SELECT metric {key}", LIQUID) != []
    stream.world.execute("TRUNCATE anomaly_outbox")
    stream.world.check(tmp_path, SINCE, END, suites=["market_events"], hold=holder(stream.world))
    stream.recompute()
    assert stream.world.execute(f"SELECT metric {key}", LIQUID) == []
    told = stream.world.execute(
        "SELECT DISTINCT body ->> 'state' FROM anomaly_outbox WHERE body ->> 'symbol' = %s "
        "AND body ->> 'interval' = '1m' AND (body ->> 'window_start')::bigint = %s",
        LIQUID,
        BAD_TIME,
    )
    assert told == [("withdrawn",)]


def test_both_asset_classes_have_their_days(start: Callable[[], Stream]) -> None:
    stream = start()
    stream.world.execute(
        "INSERT INTO quarantined_events (event_id, revision, event_time, symbol, asset_class, check_name, reason) "
        "SELECT 'x' || c, 0, '2025-11-28 01:00+00', 'X', c, 'check', 'why' FROM unnest(%s::text[]) c",
        list(ASSET_CLASSES),
    )
    stream.recompute()
    assert stream.world.execute("SELECT count(*) FROM quarantined_events WHERE applied_at IS NULL") == [(0,)]


def test_a_held_price_is_not_the_latest_any_more(start: Callable[[], Stream]) -> None:
    week, _ = with_bad_bar()
    stream = start()
    cache = CacheManager(stream.world.redis_url)
    cache._client.delete(f"price:{LIQUID}")
    stream.delivery.write(week)
    newest = [event for event in week["stock"] if event.symbol == LIQUID][-1]
    assert cache.get_latest_price(LIQUID) == newest.close
    hold_events(stream, newest.event_id)
    stream.recompute()
    before = [event for event in week["stock"] if event.symbol == LIQUID][-2]
    assert (cache.get_latest(LIQUID) or {})["event_time"] == before.event_time
    assert cache.get_latest_price(LIQUID) == before.close
    decide(stream.world.writer_url, Choice(), "released", by="me", run="run")
    stream.recompute()
    assert cache.get_latest_price(LIQUID) == newest.close


def test_of_a_day_in_the_archive_nothing_is_counted_again(start: Callable[[], Stream]) -> None:
    """Its events are not there: what stands would be taken for uncounted."""
    week, bad = with_bad_bar()
    stream = start()
    stream.delivery.write(week)
    before = stream.rows()
    hold_events(stream, bad.event_id)
    stream.world.execute(COLD_DAY, "2025-11-28")
    assert waits(stream.world.writer_url) == 0
    stream.recompute()
    assert_equal(stream.rows(), before)
    stream.world.execute("UPDATE archived_days SET dropped_at = NULL")
    assert waits(stream.world.writer_url) == 1
    stream.recompute()
    assert waits(stream.world.writer_url) == 0
    assert stream.rows()["candles"] != before["candles"]


def test_what_is_held_while_a_person_thinks_is_not_decided_unseen(start: Callable[[], Stream]) -> None:
    week, bad = with_bad_bar()
    stream = start()
    stream.delivery.write(week)
    hold_events(stream, bad.event_id)
    [shown] = held(stream.world.writer_url, Choice())
    hold_events(stream, week["crypto"][0].event_id)
    seen = Choice(held_until=shown["quarantined_at"])
    assert decide(stream.world.writer_url, seen, "dropped", by="me", run="run") == 1
    assert [row["event_id"] for row in held(stream.world.writer_url, Choice())] == [week["crypto"][0].event_id]
    # Another try of the run says what the run has done.
    assert decide(stream.world.writer_url, seen, "dropped", by="me", run="run") == 1
    assert decide(stream.world.writer_url, seen, "dropped", by="me", run="another run") == 0


def hold_events(stream: Stream, *event_ids: str) -> None:
    columns = "event_id, revision, event_time, symbol, asset_class"
    with psycopg.connect(stream.world.checker_url, autocommit=True, row_factory=dict_row) as connection:
        found = connection.execute(f"SELECT {columns} FROM market_events WHERE event_id = ANY (%s)", (list(event_ids),))
        assert hold(connection, found.fetchall(), "a check", "why", "run") == len(event_ids)
