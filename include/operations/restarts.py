"""When an application may be started again, from how its earlier starts ended. Pure: no clock, no dice of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from include.storage.supervision import Start

#: Ends that speak against another start. An orderly stop and a start that found another owner do not.
BAD_OUTCOMES = ("failed", "died", "stuck", "not started")
#: From a start's id to [0, 1): the same at every look, so that a wait is not drawn anew each minute.
Dice = Callable[[int], float]


@dataclass(frozen=True, slots=True)
class RestartRules:
    """The first restart comes at once, the n-th after it within base * 2^(n-1) seconds."""

    base_seconds: float = 5.0
    cap_seconds: float = 300.0
    breaker_starts: int = 5
    breaker_seconds: float = 900.0
    #: Who ran for so long starts the count anew.
    healthy_seconds: float = 1_800.0
    same_batch_times: int = 3


@dataclass(frozen=True, slots=True)
class Allowed:
    """A start may be made, or not before `at`."""

    at: datetime
    #: How many starts in a row ended badly.
    streak: int


@dataclass(frozen=True, slots=True)
class BreakerOpen:
    """Too many starts of late ended badly; it closes by itself."""

    until: datetime
    starts: int


@dataclass(frozen=True, slots=True)
class SameBatch:
    """The same batch failed again and again: another start would meet it too."""

    times: int
    batch: dict[str, object]


def next_start(
    starts: Sequence[Start], now: datetime, forgiven_at: datetime | None, dice: Dice, rules: RestartRules
) -> Allowed | BreakerOpen | SameBatch:
    """What the ended starts, newest first, allow. Those from before `forgiven_at` do not count."""
    counted = [start for start in starts if forgiven_at is None or start.started_at >= forgiven_at]
    in_a_row = _bad_in_a_row(counted, rules)
    if blocked := _same_batch(in_a_row, rules):
        return blocked
    window = timedelta(seconds=rules.breaker_seconds)
    bad = [start for start in counted if start.outcome in BAD_OUTCOMES and start.started_at > now - window]
    if len(bad) >= rules.breaker_starts:
        return BreakerOpen(bad[rules.breaker_starts - 1].started_at + window, len(bad))
    if not in_a_row:
        return Allowed(now, 0)
    newest = in_a_row[0]
    ended = newest.ended_at or newest.started_at
    return Allowed(ended + timedelta(seconds=delay(len(in_a_row), dice(newest.id), rules)), len(in_a_row))


def delay(streak: int, chance: float, rules: RestartRules) -> float:
    """Seconds to wait after the streak's last bad end: 0 after the first, then full jitter under a doubling bound."""
    return 0.0 if streak <= 1 else chance * min(rules.cap_seconds, rules.base_seconds * 2 ** min(streak - 2, 30))


def _bad_in_a_row(starts: Sequence[Start], rules: RestartRules) -> list[Start]:
    found = []
    for start in starts:
        if start.outcome == "refused" or start.ended_at is None:
            continue
        if start.outcome not in BAD_OUTCOMES:
            break
        found.append(start)
        if start.ended_at - start.started_at >= timedelta(seconds=rules.healthy_seconds):
            break
    return found


def _same_batch(in_a_row: Sequence[Start], rules: RestartRules) -> SameBatch | None:
    newest = [start.failed_batch for start in in_a_row[: rules.same_batch_times]]
    if len(newest) < rules.same_batch_times or newest[0] is None:
        return None
    same = {(batch["query"], batch["batch_id"]) if batch else None for batch in newest}
    return SameBatch(len(newest), newest[0]) if len(same) == 1 else None
