"""The supervisor's decisions: what was seen in literals, and the one step that follows."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.operations.supervision import (
    Action,
    Process,
    QueryBacklog,
    Rules,
    Seen,
    State,
    Verdict,
    decide,
    is_rising,
    patience,
)
from tests.unit.operations.sights import DETAILS, NOW, before, lease, released, seen, start

RULES = Rules()


def judged(look: Seen) -> Verdict:
    return decide(look, lambda _start: 0.5, RULES)


def verdict(look: Seen) -> tuple[State, Action]:
    found = judged(look)
    return found.state, found.action


def backlog(*, overdue: bool, batch_ago: float | None, behind: int = 5) -> dict[str, QueryBacklog]:
    return {"events_crypto": QueryBacklog(behind, overdue, None if batch_ago is None else before(batch_ago))}


def test_a_live_driver_is_left_alone() -> None:
    assert verdict(seen(lease(), start())) == (State.RUNNING, Action.NOTHING)
    # Of another machine, or started by hand: the lease is enough.
    assert verdict(seen(lease(), owner=Process.UNKNOWN)) == (State.RUNNING, Action.NOTHING)


def test_the_first_start_is_made_at_once() -> None:
    for look in (seen(None), seen(released(epoch=0))):
        assert verdict(look) == (State.NOT_STARTED, Action.START)


@pytest.mark.parametrize(
    ("look", "why"),
    [
        (seen(lease(beat=1), start(), owner=Process.GONE), "its process 7 is gone"),
        (seen(lease(beat=16), start()), "frozen: its process is there, without a heartbeat for 16 s"),
        (seen(lease(beat=16), owner=Process.UNKNOWN), "dead or cut off, without a heartbeat for 16 s"),
        # It never beat since it took the lease, two minutes ago.
        (seen(lease(beat=121, details={}), start(125)), "frozen: its process is there, without a heartbeat for 121 s"),
    ],
)
def test_a_dead_driver_is_cleared_away(look: Seen, why: str) -> None:
    found = judged(look)
    assert (found.state, found.action, found.outcome, found.why) == (State.DEAD, Action.CLEAR, "died", why)


def test_a_driver_that_starts_is_given_time() -> None:
    assert verdict(seen(lease(beat=100, details={}), start(110))) == (State.STARTING, Action.NOTHING)
    assert verdict(seen(released(), start(119, epoch=None))) == (State.STARTING, Action.NOTHING)
    assert verdict(seen(None, start(5, epoch=None), starter=Process.UNKNOWN)) == (State.STARTING, Action.NOTHING)


def test_after_an_absence_of_postgresql_a_heartbeat_is_waited_for() -> None:
    held = lease(beat=300)
    assert judged(seen(held, start(), database_since=before(14))).action is Action.NOTHING
    assert judged(seen(held, start(), database_since=before(16))).action is Action.CLEAR
    # A process that is gone needs no heartbeat.
    assert judged(seen(held, start(), owner=Process.GONE, database_since=before(1))).action is Action.CLEAR


@pytest.mark.parametrize(
    ("look", "why"),
    [
        (seen(None, start(3, epoch=None), starter=Process.GONE), "it ended before it took the lease"),
        (seen(None, start(121, epoch=None)), "it does not come to life within 120 s"),
        (seen(None, start(121, epoch=None), starter=Process.UNKNOWN), "it does not come to life within 120 s"),
    ],
)
def test_a_start_that_leads_to_nothing_is_recorded_as_such(look: Seen, why: str) -> None:
    found = judged(look)
    assert (found.action, found.outcome, found.why) == (Action.CLEAR, "not started", why)


def test_a_start_beside_a_live_owner_is_no_fault() -> None:
    found = judged(seen(lease(), start(5, epoch=None), starter=Process.GONE))
    assert (found.state, found.action, found.outcome) == (State.RUNNING, Action.CLEAR, "refused")


def test_a_start_whose_lease_was_given_up_without_its_end_being_recorded_is_closed() -> None:
    assert judged(seen(released(), start())).action is Action.CLEAR


def test_a_stuck_driver_is_replaced_and_told_apart_from_a_dead_one() -> None:
    found = judged(seen(lease(), start(), backlog=backlog(overdue=True, batch_ago=61)))
    assert (found.state, found.action, found.outcome) == (State.STUCK, Action.CLEAR, "stuck")
    assert found.why == "events_crypto has 5 records to read, and no batch for 61 s (it may take 60 s)"


@pytest.mark.parametrize(
    "look",
    [
        seen(lease(), start(), backlog=backlog(overdue=False, batch_ago=3_000)),  # idle, or just come
        seen(lease(), start(), backlog=backlog(overdue=True, batch_ago=59)),  # behind, at work
        seen(lease(), start(), backlog=None),  # Kafka is away
        seen(lease(), start(), backlog=backlog(overdue=True, batch_ago=61), busy=True),  # waits for PostgreSQL
        seen(lease(), start(), backlog=backlog(overdue=True, batch_ago=61), database_since=before(30)),  # it was away
        seen(lease(started_at=before(50)), start(60), backlog=backlog(overdue=True, batch_ago=None)),  # has just begun
    ],
)
def test_what_is_not_stuck(look: Seen) -> None:
    assert verdict(look) == (State.RUNNING, Action.NOTHING)


def test_long_batches_make_the_supervisor_patient() -> None:
    slow = {"queries": {"events_crypto": {"batch_seconds_p95": 30.0}, "events_stock": {"batch_seconds_p95": None}}}
    assert patience(slow, RULES) == 150
    assert patience(DETAILS, RULES) == patience({}, RULES) == 60
    look = seen(lease(details=slow), start(), backlog=backlog(overdue=True, batch_ago=149))
    assert verdict(look) == (State.RUNNING, Action.NOTHING)


def samples(*lags: int, every: float = 60) -> list[dict[str, Any]]:
    first = NOW - timedelta(seconds=every * (len(lags) - 1))
    return [
        {"at": (first + timedelta(seconds=every * number)).isoformat(), "lag": lag} for number, lag in enumerate(lags)
    ]


@pytest.mark.parametrize(
    ("lags", "rising"),
    [
        ((), False),
        ((9,), False),
        ((1, 2, 3, 4, 5), False),  # four minutes
        ((1, 2, 3, 4, 5, 6), True),
        ((1, 2, 3, 3, 5, 6), False),
        ((9, 1, 2, 3, 4, 5, 6), True),
        ((1, 2, 3, 4, 5, 6, 5), False),
    ],
)
def test_a_lag_that_grows_for_five_minutes_is_said_and_starts_nothing(lags: tuple[int, ...], rising: bool) -> None:
    kept = samples(*lags)
    assert is_rising(kept, RULES) == rising
    expected = State.BEHIND if rising else State.RUNNING
    assert verdict(seen(lease(lag_samples=kept), start())) == (expected, Action.NOTHING)


def test_a_wish_to_stop_is_obeyed_and_named() -> None:
    wish = {"desired_state": "stopped", "desired_by": "Ada", "desired_why": "lunch"}
    assert verdict(seen(lease(**wish), start())) == (State.STOPPING, Action.STOP)
    assert verdict(seen(released(**wish), start(5, epoch=None))) == (State.STOPPING, Action.STOP)
    found = judged(seen(released(**wish), start(lasted=60)))
    assert (found.state, found.action, found.why) == (State.STOPPED, Action.NOTHING, "stopped by Ada: lunch")
    # A dead one that was to stop is cleared away, and stays so.
    assert judged(seen(lease(**wish), start(), owner=Process.GONE)).action is Action.CLEAR


def test_an_orderly_stop_is_followed_by_a_start_once_it_is_wanted() -> None:
    found = judged(seen(released(), start(lasted=3_000, outcome="stopped")))
    assert (found.state, found.action, found.why) == (State.STOPPED, Action.START, "the last one stopped: why")


def test_bad_ends_make_it_wait_then_break_then_ask_for_a_person() -> None:
    once, twice = start(100, lasted=99.5), start(200, lasted=50)
    assert verdict(seen(released(), once)) == (State.DEAD, Action.START)
    found = judged(seen(released(), once, twice))
    assert (found.state, found.action) == (State.WAITING, Action.NOTHING)
    assert found.until == before(0.5) + timedelta(seconds=2.5)

    five = [start(100 * n, lasted=50) for n in range(1, 6)]
    found = judged(seen(released(), *five))
    assert (found.state, found.action, found.until) == (State.BROKEN, Action.NOTHING, NOW + timedelta(seconds=400))
    assert found.why == "5 starts within 15 min ended badly; last died: why"
    assert found.needs_a_person
    # A person forgives; then it is as if there had been none.
    assert judged(seen(released(forgiven_at=before(10)), *five)).action is Action.START

    batch = {"query": "events_crypto", "batch_id": 9, "offsets": {"t": {"0": [5, 9]}}}
    same = [start(1_000 * n, lasted=50, outcome="failed", failed_batch=batch) for n in range(1, 4)]
    found = judged(seen(released(), *same))
    assert (found.state, found.action) == (State.BLOCKED, Action.NOTHING)
    assert "batch 9 of events_crypto failed 3 times in a row, offsets {'t': {'0': [5, 9]}}" in found.why
    assert found.needs_a_person


PROCESSES = st.sampled_from(list(Process))
LEASES = st.one_of(
    st.none(),
    st.builds(
        lambda beat, owned, wish, booted: (lease if owned else released)(
            beat=beat, desired_state=wish, details=DETAILS if booted else {}
        ),
        st.floats(0, 1_000),
        st.booleans(),
        st.sampled_from(["running", "stopped"]),
        st.booleans(),
    ),
)
STARTS = st.lists(
    st.builds(
        lambda ago, lasted, outcome, epoch: start(ago, lasted=lasted, outcome=outcome, epoch=epoch),
        st.floats(1, 5_000),
        st.one_of(st.none(), st.floats(0, 1)),
        st.sampled_from(["stopped", "failed", "died", "stuck", "not started", "refused"]),
        st.one_of(st.none(), st.integers(1, 9)),
    ),
    max_size=8,
).map(lambda found: sorted(found, key=lambda one: one.started_at, reverse=True))


@given(held=LEASES, starts=STARTS, owner=PROCESSES, starter=PROCESSES, chance=st.floats(0, 0.999))
def test_there_is_no_second_start_before_the_first_is_over(
    held: Any, starts: Any, owner: Process, starter: Process, chance: float
) -> None:
    look = seen(held, *starts, owner=owner, starter=starter)
    found = decide(look, lambda _start: chance, RULES)
    if found.action is Action.START:
        assert held is None or held.owner is None
        assert not starts or starts[0].ended_at is not None
        assert held is None or held.desired_state == "running"
    if found.needs_a_person:
        assert found.action is Action.NOTHING
    if held is not None and held.desired_state == "stopped":
        assert found.action is not Action.START
