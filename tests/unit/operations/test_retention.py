"""What is due for days, from literals: partitions and catalogue in, plan out."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from include.errors import SettingsError
from include.operations.retention import DAYS_AHEAD, Rules, longest_kafka_hours, plan, rules, states
from include.settings import Settings
from include.storage.archive_catalogue import Part, Partition

EVENTS, RESULTS = "market_events", "data_quality_results"
TODAY = date(2026, 11, 25)
RULES = Rules(archive_after_days=7, keep_days=30)
#: The youngest day of each kind.
TO_ARCHIVE, TO_DROP = TODAY - timedelta(days=8), TODAY - timedelta(days=31)
AHEAD = [TODAY + timedelta(days=number) for number in range(DAYS_AHEAD + 1)]


def at(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, 2, 30, tzinfo=UTC)


def part(day: date, rows: int = 10, *, number: int = 1, cold: bool = False, touched: date | None = None) -> Part:
    archived = at(day + timedelta(days=8))
    return Part(
        EVENTS, day, number, rows, Decimal(1), f"part-{number}", 100, "sha", archived,
        archived if touched is None else at(touched), at(TODAY) if cold else None,
    )  # fmt: skip


def held(*days: date, rows: int = 10) -> list[Partition]:
    """These days, and all that are made ahead."""
    young = [Partition(relation, day, None) for relation in (EVENTS, RESULTS) for day in AHEAD]
    return [*young, *(Partition(EVENTS, day, rows) for day in days)]


def test_partitions_are_made_for_today_and_a_week_ahead_in_both_tables() -> None:
    assert plan([], [], TODAY, RULES).make == tuple((relation, day) for relation in (EVENTS, RESULTS) for day in AHEAD)
    some = [Partition(EVENTS, AHEAD[0], None), Partition(EVENTS, AHEAD[-1], None)]
    missing = plan(some, [], TODAY, RULES).make
    assert [day for relation, day in missing if relation == EVENTS] == AHEAD[1:-1]
    assert plan(held(), [], TODAY, RULES).make == ()


def test_a_day_is_archived_when_it_is_older_than_the_setting_and_not_before() -> None:
    due = plan(held(TO_ARCHIVE, TO_ARCHIVE + timedelta(days=1)), [], TODAY, RULES)
    assert due.archive == ((EVENTS, TO_ARCHIVE),)
    assert due.drop == ()


def test_a_day_is_dropped_when_it_is_older_than_the_setting_and_not_before() -> None:
    days = [TO_DROP, TO_DROP + timedelta(days=1)]
    due = plan(held(*days), [part(day) for day in days], TODAY, RULES)
    assert (due.archive, due.drop) == ((), ((EVENTS, TO_DROP),))


def test_a_backlog_is_archived_and_dropped_in_one_run_oldest_first() -> None:
    days = [TO_DROP - timedelta(days=number) for number in range(3)]
    due = plan(held(*days), [], TODAY, RULES)
    assert due.archive == due.drop == tuple((EVENTS, day) for day in sorted(days))


def test_rows_that_came_to_a_warm_day_make_it_due_again() -> None:
    due = plan(held(TO_ARCHIVE, rows=11), [part(TO_ARCHIVE, rows=10)], TODAY, RULES)
    assert due.archive == ((EVENTS, TO_ARCHIVE),)
    # So does a row that is missing: the run will say it.
    assert plan(held(TO_ARCHIVE, rows=9), [part(TO_ARCHIVE, rows=10)], TODAY, RULES).archive == due.archive


def test_an_empty_day_gets_no_file_and_goes_in_its_time() -> None:
    due = plan(held(TO_ARCHIVE, TO_DROP, rows=0), [], TODAY, RULES)
    assert (due.archive, due.drop) == ((), ((EVENTS, TO_DROP),))


def test_rows_of_a_cold_day_are_due_like_any_others() -> None:
    due = plan(held(TO_DROP, rows=1), [part(TO_DROP, cold=True)], TODAY, RULES)
    assert due.archive == due.drop == ((EVENTS, TO_DROP),)
    assert plan(held(), [part(TO_DROP, cold=True)], TODAY, RULES).drop == ()


def test_a_day_that_was_brought_back_stays_as_long_as_a_new_one() -> None:
    def dropped(touched: date) -> bool:
        return plan(held(TO_DROP), [part(TO_DROP, touched=touched)], TODAY, RULES).drop == ((EVENTS, TO_DROP),)

    assert not dropped(TODAY)
    assert not dropped(TO_ARCHIVE + timedelta(days=1))
    assert dropped(TO_ARCHIVE)


def test_a_second_plan_after_the_first_was_done_is_empty() -> None:
    young, old = TO_ARCHIVE, TO_DROP
    after = plan(held(young), [part(young), part(old, cold=True)], TODAY, RULES)
    assert (after.make, after.archive, after.drop) == ((), (), ())


def test_states_of_days() -> None:
    warm, cold, again = (TODAY - timedelta(days=number) for number in (10, 40, 41))
    found = states(held(warm, again), [part(warm), part(cold, cold=True), part(again, cold=True)], TODAY)
    assert found == {
        (EVENTS, TODAY): "hot",
        (EVENTS, warm): "warm",
        (EVENTS, cold): "cold",
        (EVENTS, again): "hot",
        (RESULTS, TODAY): "hot",
    }


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"archive_after_days": 20, "keep_days": 20}, "KEEP_DAYS=20 .* more than ARCHIVE_AFTER_DAYS=20"),
        ({"keep_days": 14}, r"KEEP_DAYS=14 .* Kafka keeps up to 336 hours .* at least 15"),
    ],
)
def test_settings_that_would_lose_something_are_refused_by_name(given: dict[str, Any], says: str) -> None:
    with pytest.raises(SettingsError, match=says):
        rules(Settings(**given), 336)
    assert rules(Settings(archive_after_days=7, keep_days=15), 336) == Rules(7, 15)


def test_the_longest_of_the_declared_topics_counts(tmp_path: Path) -> None:
    file = tmp_path / "kafka.yaml"
    file.write_text("topics: {a: {partitions: 1, retention_hours: 5}, b: {partitions: 1, retention_hours: 9}}")
    assert longest_kafka_hours(file) == 9
    assert rules(Settings(), longest_kafka_hours()) == Rules(7, 30), "the defaults fit together"
