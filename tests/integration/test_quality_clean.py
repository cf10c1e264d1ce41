"""A clean week with a holiday, a half day and a quiet symbol raises nothing."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from include.errors import SettingsError
from include.market.topics import EVENTS
from include.quality.suites import load_suites
from include.storage.quality_store import QualityStore, TopicEnd
from tests.integration.archive_days import COLD_DAY
from tests.integration.quality_world import (
    COIN,
    END,
    HALF_DAY,
    HOLIDAY,
    LIQUID,
    MONDAY,
    QUIET,
    World,
    clean_week,
    database,
    stream,
)
from tests.stores import Services


@pytest.fixture(scope="module")
def week(services: Services) -> Iterator[tuple[World, list[TopicEnd]]]:
    with database(services, "quality_clean") as world:
        yield world, stream(world, clean_week())


def midnight(day: object) -> datetime:
    return datetime.fromisoformat(f"{day}T00:00:00+00:00")


def test_nothing_is_raised_over_the_whole_week(week: tuple[World, list[TopicEnd]], tmp_path: Path) -> None:
    world, ends = week
    report = world.check(tmp_path, midnight(MONDAY), END, ends=ends)
    assert [(each.check_name, each.observed) for each in report.checks if not each.passed] == []
    assert {each.check_name for each in report.checks} == {c.name for s in load_suites() for c in s.checks}
    assert report.summary()["summary"] == f"{len(report.checks)} of {len(report.checks)} checks passed"


def test_what_was_found_is_in_the_tables(week: tuple[World, list[TopicEnd]], tmp_path: Path) -> None:
    world, ends = week
    report = world.check(tmp_path, midnight(HALF_DAY), END, ends=ends, run_id="stored")
    rows = world.execute(
        "SELECT check_name, symbol, passed FROM data_quality_results WHERE run_id = 'stored' ORDER BY 1, 2"
    )
    assert len(rows) == len(report.results) == len(report.checks) + 2 * 3
    assert {(name, symbol) for name, symbol, _ in rows if symbol} == {
        (name, symbol) for name in ("symbol_freshness", "symbol_completeness") for symbol in (LIQUID, QUIET, COIN)
    }
    run = world.execute(
        "SELECT dag_run_id, passed, failed_critical, failed_warning, finished_at IS NOT NULL FROM quality_runs "
        "WHERE run_id = 'stored'"
    )
    assert run == [("manual__stored", len(report.checks), 0, 0, True)]


@pytest.mark.parametrize(
    ("at", "what"),
    [
        (midnight(HOLIDAY) + timedelta(hours=17), "the exchange is closed for a holiday"),
        (midnight(HALF_DAY) + timedelta(hours=14, minutes=32), "it has just opened, before its first bar is there"),
        (END, "it closed early"),
        (datetime(2025, 11, 29, 15, tzinfo=UTC), "it is Saturday"),
    ],
)
def test_closed_is_not_stale(week: tuple[World, list[TopicEnd]], at: datetime, what: str) -> None:
    found = week[0].execute("SELECT symbol FROM symbol_freshness(%s) WHERE NOT passed AND asset_class = 'stock'", at)
    assert found == [], what


def test_what_is_collected_again_is_not_late_by_the_time_when_it_was_not(week: tuple[World, list[TopicEnd]]) -> None:
    world, _ = week
    at = END + timedelta(hours=1)
    passed = "SELECT passed FROM symbol_freshness(%s, 300, ARRAY[%s])"
    collected = "UPDATE instruments SET collected_since = %s WHERE symbol = %s"
    assert world.execute(passed, at, COIN) == [(False,)]
    world.execute(collected, at - timedelta(minutes=1), COIN)
    assert world.execute(passed, at, COIN) == [(True,)]
    hole = "SELECT expected_minutes, missing_minutes FROM symbol_completeness(%s, %s, 300, ARRAY[%s])"
    assert world.execute(hole, midnight(MONDAY), at, COIN)[0][0] == 1, "what was before nobody expected"
    world.execute(collected, at, COIN)
    assert world.execute(hole, midnight(MONDAY), at, COIN)[0][1] == 60, "a day by hand"
    world.execute(collected, MONDAY, COIN)


def test_a_half_day_expects_half_a_day(week: tuple[World, list[TopicEnd]]) -> None:
    rows = week[0].execute(
        "SELECT symbol, expected_minutes, present_minutes, missing_minutes FROM symbol_completeness(%s, %s) "
        "WHERE asset_class = 'stock' ORDER BY symbol",
        midnight(HALF_DAY),
        END,
    )
    assert rows[0] == (LIQUID, 210, 210, 0)
    assert rows[1][:2] == (QUIET, 210)
    assert 8 <= rows[1][2] <= 14, "it trades every 15 to 25 minutes, and that is no hole"
    assert rows[1][3] == 0
    holiday = week[0].execute(
        "SELECT DISTINCT expected_minutes FROM symbol_completeness(%s, %s) WHERE asset_class = 'stock'",
        midnight(HOLIDAY),
        midnight(HALF_DAY),
    )
    assert holiday == [(0,)]


def test_the_running_window_raises_nothing(week: tuple[World, list[TopicEnd]]) -> None:
    """Its candle has events by now that came after the run began."""
    world, _ = week
    for seconds in (1, 31, 61, 150, 299):
        until = END - timedelta(minutes=60, seconds=seconds)
        assert world.execute("SELECT * FROM candle_differences(%s, %s)", midnight(HALF_DAY), until) == []


@pytest.mark.parametrize(
    ("lease", "starting"),
    [
        (None, False),
        ("'stopped', NULL, NULL", False),
        ("'running', NULL, NULL", True),
        ("'running', 'a driver', now()", True),
        ("'running', 'a driver', now() - interval '10 minutes'", False),
    ],
)
def test_a_run_waits_for_a_stream_that_starts(
    week: tuple[World, list[TopicEnd]], lease: str | None, starting: bool
) -> None:
    world, _ = week
    world.execute("DELETE FROM stream_lease")
    if lease is not None:
        world.execute(
            "INSERT INTO stream_lease (application, desired_state, owner, started_at, epoch) "
            f"VALUES ('market_stream', {lease}, 1)"
        )
    with QualityStore(world.checker_url) as store:
        assert store.is_starting(180) is starting


def test_of_days_in_the_archive_the_ledger_says_nothing(services: Services, tmp_path: Path) -> None:
    with database(services, "quality_cold") as world:
        ends = stream(world, clean_week())
        whole = world.execute("SELECT count(*) FROM ledger_balance('-infinity', 'infinity')")
        # The first day, and an event that came late for it, in a batch of the last.
        world.execute(COLD_DAY, MONDAY)
        [(partition, offset)] = world.execute(
            "DELETE FROM market_events WHERE symbol = %s AND kind = 'bar' AND event_time = %s "
            "RETURNING kafka_partition, kafka_offset",
            COIN,
            midnight(HALF_DAY) + timedelta(hours=3),
        )
        world.execute(
            "INSERT INTO late_events (event_id, symbol, event_time, kafka_topic, kafka_partition, kafka_offset, "
            "reason, watermark) VALUES ('late', %s, %s, %s, %s, %s, 'older than the watermark', now())",
            COIN,
            midnight(MONDAY) + timedelta(hours=3),
            EVENTS["crypto"],
            partition,
            offset,
        )
        late = world.execute(
            "UPDATE stream_batches b SET rows_late = 1 WHERE EXISTS (SELECT FROM jsonb_each(b.offsets -> %s) p "
            "WHERE p.key = %s AND (p.value ->> 0)::bigint <= %s AND (p.value ->> 1)::bigint > %s) RETURNING batch_id",
            EVENTS["crypto"],
            f"{partition}",
            offset,
            offset,
        )
        assert len(late) == 1
        world.execute(
            "DELETE FROM market_events WHERE event_time >= %s AND event_time < %s",
            midnight(MONDAY),
            midnight(MONDAY + timedelta(days=1)),
        )
        report = world.check(tmp_path, midnight(MONDAY), END, suites=("stream_batches",), ends=ends)
        assert [(each.check_name, each.observed) for each in report.checks if not each.passed] == []
        left = world.execute("SELECT count(*) FROM ledger_balance('-infinity', 'infinity')")
        assert 0 < left[0][0] < whole[0][0]


def test_a_wrong_name_in_the_form_is_refused_in_one_line(week: tuple[World, list[TopicEnd]], tmp_path: Path) -> None:
    world, _ = week
    with pytest.raises(SettingsError, match=f"NOBODY is not collected here; these are: .*{COIN}"):
        world.check(tmp_path, midnight(MONDAY), END, symbols=("NOBODY",), run_id="refused")
    with pytest.raises(SettingsError, match="prices"):
        world.check(tmp_path, midnight(MONDAY), END, suites=("prices",), run_id="refused")
    assert world.execute("SELECT count(*) FROM quality_runs WHERE run_id = 'refused'") == [(0,)]
