"""Back-off and breaker over simulated days: bounds that hold whatever the driver does."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from include.operations.restarts import Allowed, BreakerOpen, RestartRules, SameBatch, delay, next_start
from include.storage.supervision import Start
from tests.unit.operations.sights import NOW, before, start

RULES = RestartRules()
BATCH = {"query": "events_crypto", "batch_id": 9, "offsets": {}}


def no_chance(_start: int) -> float:
    return 0.0


@pytest.mark.parametrize(
    ("streak", "chance", "seconds"),
    [(0, 0.9, 0), (1, 0.9, 0), (2, 1.0, 5), (3, 1.0, 10), (3, 0.5, 5), (8, 1.0, 300), (1_000, 1.0, 300)],
)
def test_the_delay_doubles_up_to_its_cap(streak: int, chance: float, seconds: float) -> None:
    assert delay(streak, chance, RULES) == seconds


def test_an_end_that_speaks_for_it_ends_the_streak() -> None:
    bad = [start(100, lasted=1), start(2_000, lasted=1), start(3_000, lasted=1)]
    assert next_start(bad, NOW, None, no_chance, RULES) == Allowed(before(99), 3)
    for between, streak in (
        (start(1_000, lasted=1, outcome="stopped"), 1),
        (start(1_000, lasted=1, outcome="refused"), 3),  # found another owner: says nothing
        (start(10_000, lasted=1_800), 2),  # ran for half an hour: it counts, those before it do not
    ):
        starts = [bad[0], between, *bad[1:]]
        found = next_start(starts, NOW, None, no_chance, RULES)
        assert isinstance(found, Allowed)
        assert found.streak == streak


def test_the_breaker_counts_starts_in_its_window_only() -> None:
    five = [start(180 * n, lasted=10) for n in range(1, 6)]
    # The fifth began 900 s ago, and has just left the window.
    assert isinstance(next_start(five, NOW, None, no_chance, RULES), Allowed)
    five = [start(179 * n, lasted=10) for n in range(1, 6)]
    assert next_start(five, NOW, None, no_chance, RULES) == BreakerOpen(before(895 - 900), 5)


def test_only_the_same_batch_of_the_same_query_three_times_in_a_row_blocks() -> None:
    def failed(*batches: object) -> list[Start]:
        return [
            start(2_000 * n, lasted=1, outcome="failed", failed_batch=batch)  # type: ignore[arg-type]
            for n, batch in enumerate(batches, 1)
        ]

    other = {**BATCH, "batch_id": 10}
    assert next_start(failed(BATCH, BATCH, BATCH), NOW, None, no_chance, RULES) == SameBatch(3, BATCH)
    for batches in ((BATCH, BATCH), (BATCH, other, BATCH), (BATCH, None, BATCH, BATCH), (None, None, None)):
        assert isinstance(next_start(failed(*batches), NOW, None, no_chance, RULES), Allowed), batches


@settings(max_examples=200)
@given(
    lives=st.lists(st.floats(0, 400), min_size=1, max_size=60),
    outcomes=st.lists(st.sampled_from(["failed", "died", "stuck", "not started", "stopped"]), min_size=60, max_size=60),
    chances=st.lists(st.floats(0, 0.999), min_size=60, max_size=60),
)
def test_over_any_life_the_waits_are_in_bounds_and_the_window_never_holds_more_than_five_bad_starts(
    lives: list[float], outcomes: list[str], chances: list[float]
) -> None:
    now, made = NOW, []
    for number, lived in enumerate(lives):
        found = next_start(made, now, None, lambda one: chances[one], RULES)
        while not (isinstance(found, Allowed) and found.at <= now):
            assert not isinstance(found, SameBatch)
            until = found.at if isinstance(found, Allowed) else found.until
            assert until > now
            assert until - now <= timedelta(seconds=900)
            if isinstance(found, Allowed) and made:
                assert found.at - made[0].ended_at <= timedelta(seconds=300)
            now = until
            found = next_start(made, now, None, lambda one: chances[one], RULES)
        begun = replace(start(0, epoch=None), id=number, started_at=now)
        now += timedelta(seconds=lived)
        made.insert(0, replace(begun, ended_at=now, outcome=outcomes[number]))
    bad = [one.started_at for one in made if one.outcome != "stopped"]
    for newer, older in zip(bad, bad[5:], strict=False):
        assert newer - older >= timedelta(seconds=900)
