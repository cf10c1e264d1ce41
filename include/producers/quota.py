"""When a source's quotas let the next call through: rolling windows over the calls that were counted. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from include.errors import QuotaExhausted, RateLimited, SourceError
from include.market.event import MICROSECONDS
from include.settings import Settings
from include.sources.base import MINUTE_US, Declaration

#: A window up to this is a pace, a longer one a supply that is used up.
LONGEST_PACE_SECONDS = 3600
#: The server's count of its running minute is compared with ours; our clocks may differ by this.
CLOCK_SLACK_US = 2 * MICROSECONDS


class Ledger(Protocol):
    """The calls of one source. A unit is a call's share of a quota: a call of cost 2 has two."""

    def unit_at(self, newer: int) -> int | None:
        """The time (µs) of the unit after which `newer` units were used; None if there are no more."""
        ...

    def units_since(self, since_us: int) -> int:
        """Units used at that time (µs) and later."""
        ...


@dataclass(frozen=True, slots=True)
class Limit:
    """At most `units` in any `seconds`; `setting` is the name under which people set it."""

    setting: str
    seconds: int
    units: int

    @property
    def window_us(self) -> int:
        """How long a unit counts: a little longer than the window, for the source counts when a call
        arrives, and one that was slow on its way arrives closer to the next than it was sent."""
        return self.seconds * MICROSECONDS + min(self.seconds * MICROSECONDS // 10, 5 * MICROSECONDS)


@dataclass(frozen=True, slots=True)
class QuotaUse:
    """A limit as it stands. `frees_at_us` is when the oldest unit in the window leaves it; None if none is used."""

    limit: Limit
    used: int
    frees_at_us: int | None

    @property
    def left(self) -> int:
        return max(0, self.limit.units - self.used)


def limits(declaration: Declaration, settings: Settings) -> tuple[Limit, ...]:
    """The source's rules with the values that the settings give them."""
    return tuple(
        Limit(rule.setting.upper(), rule.seconds, int(getattr(settings, rule.setting, rule.default)))
        for rule in declaration.rates
    )


def refusal(source: str, rules: Iterable[Limit], ledger: Ledger, cost: int, now_us: int) -> SourceError | None:
    """The error that a call of this cost meets now, `until` it fits; None if it may be made.

    RateLimited for windows up to an hour, QuotaExhausted for longer ones.
    """
    waits = [(fits_at, rule) for rule in rules if (fits_at := _fits_at(rule, ledger, cost, now_us)) > now_us]
    if not waits:
        return None
    fits_at, rule = max(waits, key=lambda wait: wait[0])
    error = RateLimited if rule.seconds <= LONGEST_PACE_SECONDS else QuotaExhausted
    reason = (
        f"{source}: a call of {cost} never fits into {rule.setting}={rule.units}: raise it"
        if cost > rule.units
        else f"{source}: the {rule.units} of {rule.setting} are used"
    )
    return error(reason, until=fits_at / MICROSECONDS)


def uses(rules: Iterable[Limit], ledger: Ledger, now_us: int) -> tuple[QuotaUse, ...]:
    """Every limit as it stands."""
    found = []
    for rule in rules:
        used = ledger.units_since(now_us - rule.window_us)
        oldest = ledger.unit_at(used - 1) if used else None
        found.append(QuotaUse(rule, used, None if oldest is None else oldest + rule.window_us + 1))
    return tuple(found)


def used_by_others(ledger: Ledger, used: int, now_us: int) -> int:
    """Units of the source's running minute that are not ours: other programs behind the same address."""
    minute_start = (now_us - CLOCK_SLACK_US) // MINUTE_US * MINUTE_US
    return max(0, used - ledger.units_since(minute_start))


def kept_us(rules: Iterable[Limit]) -> int:
    """How long a call can matter (µs), with an hour for clocks that differ."""
    return max((rule.window_us for rule in rules), default=0) + 60 * MINUTE_US


def _fits_at(rule: Limit, ledger: Ledger, cost: int, now_us: int) -> int:
    """The first microsecond at which the window has room. Units from ahead of our clock count too: another
    process's clock made them. Both edges of a window belong to it."""
    if cost > rule.units:
        return now_us + rule.window_us
    blocking = ledger.unit_at(rule.units - cost)
    return now_us if blocking is None else max(now_us, blocking + rule.window_us + 1)
