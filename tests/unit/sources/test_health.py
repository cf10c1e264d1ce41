"""The breaker: whatever comes in whatever order, what it promises holds."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.errors import (
    AuthStale,
    BadPayload,
    Banned,
    BreakerOpen,
    EmptyRange,
    GeoBlocked,
    PlanForbidden,
    QuotaExhausted,
    RateLimited,
    SourceError,
    Stale,
    SymbolUnknown,
    Transient,
)
from include.market.event import MICROSECONDS
from include.sources.base import MINUTE_BARS, QUOTES
from include.sources.health import (
    CLOSED,
    FAILURES_TO_OPEN,
    LONGEST_COOLDOWN_SECONDS,
    LONGEST_PAUSE_SECONDS,
    PROBE_SECONDS,
    SUCCESSES_TO_CLOSE,
    Health,
)

START = 1_700_000_000
REFUSALS = (RateLimited, QuotaExhausted, Banned, AuthStale, GeoBlocked)
FAULTS = (*REFUSALS, Transient, BadPayload, Stale)


def us(seconds: float) -> int:
    return int(seconds * MICROSECONDS)


def opened(error: SourceError, now: float = START, health: Health = CLOSED) -> Health:
    for _ in range(FAILURES_TO_OPEN):
        if health.state != "open":
            health = health.after_failure(QUOTES, error, us(now))
    assert health.state == "open"
    return health


def may_ask(health: Health, now_us: int) -> bool:
    try:
        health.admitted(QUOTES, now_us)
    except SourceError:
        return False
    return True


answers = st.one_of(
    st.just("answered"),
    st.tuples(
        st.sampled_from((*FAULTS, PlanForbidden, SymbolUnknown, EmptyRange)), st.none() | st.integers(-60, 9_000)
    ),
)


@given(st.lists(st.tuples(st.integers(0, 4_000 * MICROSECONDS), st.booleans(), answers), max_size=60))
def test_no_order_of_events_breaks_its_promises(steps: list[tuple[int, bool, object]]) -> None:
    """Answers come with or without a call that was let through: several processes ask at once, so that some
    come late. `stated_end` is what the source itself said, `probe` the end of a claim."""
    health, now_us = CLOSED, us(START)
    stated_end, probe, good = 0.0, 0.0, 0
    for pause_us, asks, answer in steps:
        now_us += pause_us
        now = now_us / MICROSECONDS
        if asks and may_ask(health, now_us):
            assert now >= stated_end, "asked while the end that the source stated lies ahead"
            if health.state != "closed":
                assert now >= health.until
                assert now >= probe, "two probes at a time"
                probe = now + PROBE_SECONDS
            health = health.admitted(QUOTES, now_us)
        before = health
        if answer == "answered":
            health = health.after_success(now_us)
            good += 1
        else:
            kind, seconds = answer  # type: ignore[misc]
            until = None if seconds is None else now + seconds
            error = BadPayload("said") if kind is BadPayload else kind("said", until=until)
            health = health.after_failure(MINUTE_BARS, error, now_us)
            good = 0 if kind in FAULTS else good + 1
            if kind in REFUSALS and until is not None:
                stated_end = max(stated_end, until)
        if health.probing_until == 0.0:
            probe = 0.0
        if before.state == "open" and now < before.until:
            assert health.state == "open", "a late answer closed it"
            assert health.until >= before.until, "a late answer made the pause shorter"
            assert health.error == before.error or health.until > before.until, "the reason of the pause was lost"
        if before.state != "closed" and health.state == "closed":
            assert good >= SUCCESSES_TO_CLOSE
        if health.state == "open" and before.state != "open":
            assert health.until > now, "opened for no time"


@pytest.mark.parametrize("kind", [kind for kind in FAULTS if kind is not Stale])
def test_each_opening_of_a_source_that_does_not_recover_is_longer(kind: type[SourceError]) -> None:
    health, now, pauses = opened(kind("said")), float(START), []
    for _ in range(14):
        pauses.append(health.until - now)
        now = health.until
        health = health.admitted(QUOTES, us(now)).after_failure(QUOTES, kind("said"), us(now))
    if kind in (AuthStale, GeoBlocked):
        assert set(pauses) == {3600}
    else:
        longest = LONGEST_COOLDOWN_SECONDS if kind in REFUSALS else LONGEST_PAUSE_SECONDS
        doubled = [min(pauses[0] * 2**step, longest) for step in range(14)]
        assert pauses == pytest.approx(doubled, abs=1e-3)


def test_a_stated_end_holds_to_the_microsecond_and_tells_why() -> None:
    health = opened(Banned("IP banned", until=START + 180.5))
    with pytest.raises(Banned, match="IP banned") as refused:
        health.admitted(QUOTES, us(START + 180.5) - 1)
    assert refused.value.until == START + 180.5
    assert may_ask(health, us(START + 180.5))


def test_failures_that_may_pass_open_only_without_answers_between() -> None:
    health = CLOSED
    for _ in range(10):
        for _ in range(FAILURES_TO_OPEN - 1):
            health = health.after_failure(QUOTES, Transient("reset"), us(START))
        for _ in range(SUCCESSES_TO_CLOSE):
            health = health.after_success(us(START))
    assert health.state == "closed"
    assert opened(Transient("reset")).failures == FAILURES_TO_OPEN


def test_one_probe_at_a_time_and_another_if_the_first_stays_silent() -> None:
    now = opened(Transient("reset")).until
    probing = opened(Transient("reset")).admitted(QUOTES, us(now))
    with pytest.raises(BreakerOpen, match="probe"):
        probing.admitted(QUOTES, us(now + PROBE_SECONDS - 1))
    assert may_ask(probing, us(now + PROBE_SECONDS))
    assert may_ask(probing.after_success(us(now + 1)), us(now + 1))


def test_late_answers_of_calls_under_way_change_nothing_of_a_ban() -> None:
    banned = opened(Banned("IP banned", until=START + 7_200))
    late = banned
    for _ in range(5):
        late = late.after_success(us(START + 1))
    assert late == banned
    for _ in range(5):
        late = late.after_failure(QUOTES, Transient("reset"), us(START + 1))
    assert late == banned
    longer = late.after_failure(QUOTES, Banned("longer", until=START + 9_000), us(START + 2))
    assert (longer.until, longer.reason, longer.openings) == (START + 9_000, "longer", 1)


def test_a_plan_closes_one_want_and_no_other() -> None:
    health = CLOSED.after_failure(MINUTE_BARS, PlanForbidden("premium"), us(START))
    assert may_ask(health, us(START))
    with pytest.raises(PlanForbidden) as refused:
        health.admitted(MINUTE_BARS, us(START))
    assert refused.value.until == START + 24 * 3600
    assert health.admitted(MINUTE_BARS, us(START + 24 * 3600)) == health


def test_an_unknown_symbol_is_an_answer_and_counts_as_one() -> None:
    now = opened(Transient("reset")).until
    health = opened(Transient("reset"))
    for _ in range(SUCCESSES_TO_CLOSE):
        health = health.admitted(QUOTES, us(now)).after_failure(QUOTES, SymbolUnknown("no such"), us(now))
    assert health.state == "closed"
