"""How a source fares: a circuit breaker with half-open, and the bans that it states. Pure.

closed -> open: at once by a refusal (limit, ban, quota, key, place), else by FAILURES_TO_OPEN failures
without SUCCESSES_TO_CLOSE answers in a row between them.
open -> half open: when the time is over, one process claims one question (the probe).
half open -> closed after SUCCESSES_TO_CLOSE answers in a row; back to open, for longer, at the first failure.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from include.errors import (
    AuthStale,
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
)
from include.market.event import MICROSECONDS
from include.sources.base import Want

FAILURES_TO_OPEN = 3
SUCCESSES_TO_CLOSE = 3
#: After failures that may pass: doubled with each opening.
PAUSE_SECONDS = 30
LONGEST_PAUSE_SECONDS = 300
#: After refusals that state no end.
LONGEST_COOLDOWN_SECONDS = 6 * 3600
#: Another process may probe if the one that claimed it has said nothing for so long.
PROBE_SECONDS = 30
#: A key's plan or place does not change by the minute.
FORBIDDEN_SECONDS = 24 * 3600
REFUSED_SECONDS = 3600

#: Refusals that open at once: asking on would only make it worse.
_AT_ONCE: tuple[type[SourceError], ...] = (RateLimited, QuotaExhausted, Banned, AuthStale, GeoBlocked)
#: What the source said is about one question: it answers as it should.
NO_FAULT: tuple[type[SourceError], ...] = (SymbolUnknown, EmptyRange)
_ERRORS: dict[str, type[SourceError]] = {kind.__name__: kind for kind in (*_AT_ONCE, BreakerOpen)}


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """One source's state. Times in UTC epoch seconds."""

    state: Literal["closed", "open", "half_open"] = "closed"
    failures: int = 0
    successes: int = 0
    #: Openings since it was last closed: each waits longer.
    openings: int = 0
    until: float = 0.0
    probing_until: float = 0.0
    error: str = ""
    reason: str = ""
    changed_at: float = 0.0
    #: Want names that the key's plan does not include, and until when that is believed.
    forbidden: dict[str, float] = {}

    @property
    def is_steady(self) -> bool:
        """Closed, and no failure that SUCCESSES_TO_CLOSE answers have not outweighed."""
        return self.state == "closed" and self.failures == 0

    def admitted(self, want: Want, now_us: int) -> Health:
        """The state with this call under way. Raises why it must not be made."""
        now = now_us / MICROSECONDS
        forbidden = self.forbidden.get(want.name, 0.0)
        if now < forbidden:
            raise PlanForbidden(f"the key's plan does not include {want.name}", until=forbidden)
        if self.state == "closed":
            return self
        if now < self.until:
            raise _ERRORS.get(self.error, BreakerOpen)(f"not asked: {self.reason}", until=self.until)
        if now < self.probing_until:
            raise BreakerOpen("not asked: a probe is under way", until=self.probing_until)
        return msgspec.structs.replace(self, state="half_open", probing_until=now + PROBE_SECONDS)

    def after_success(self, now_us: int) -> Health:
        """An answer came. One that comes while the source is left alone was under way, and ends no pause."""
        if self.is_steady or self._is_left_alone(now_us / MICROSECONDS):
            return self
        if self.successes + 1 < SUCCESSES_TO_CLOSE:
            state: Literal["closed", "half_open"] = "closed" if self.state == "closed" else "half_open"
            return msgspec.structs.replace(self, state=state, successes=self.successes + 1, probing_until=0.0)
        return Health(changed_at=now_us / MICROSECONDS, forbidden=self.forbidden)

    def after_failure(
        self, want: Want, error: SourceError, now_us: int, cooldown_seconds: int = PAUSE_SECONDS
    ) -> Health:
        """No answer came, or a refusal."""
        now = now_us / MICROSECONDS
        if isinstance(error, NO_FAULT):
            return self.after_success(now_us)
        if isinstance(error, PlanForbidden):
            forbidden = self.forbidden | {want.name: error.until or now + FORBIDDEN_SECONDS}
            return msgspec.structs.replace(self.after_success(now_us), forbidden=forbidden)
        at_once = isinstance(error, _AT_ONCE)
        if self._is_left_alone(now):
            # The answer to a call that was under way: no further opening, but perhaps a later end.
            end = self._end(error, now, cooldown_seconds, self.openings - 1)
            if not at_once or end <= self.until:
                return self
            return msgspec.structs.replace(self, until=end, error=type(error).__name__, reason=str(error))
        if isinstance(error, Stale):
            # It answers: it stays asked, but it has to show that it is well before it is preferred again.
            return msgspec.structs.replace(
                self, failures=max(self.failures, 1), successes=0, error=type(error).__name__, reason=str(error)
            )
        failures = self.failures + 1
        if self.state == "closed" and not at_once and failures < FAILURES_TO_OPEN:
            return msgspec.structs.replace(
                self, failures=failures, successes=0, error=type(error).__name__, reason=str(error)
            )
        return msgspec.structs.replace(
            self,
            state="open",
            failures=failures,
            successes=0,
            openings=self.openings + 1,
            until=self._end(error, now, cooldown_seconds, self.openings),
            probing_until=0.0,
            error=type(error).__name__,
            reason=str(error),
            changed_at=now,
        )

    def _is_left_alone(self, now: float) -> bool:
        return self.state == "open" and now < self.until

    @staticmethod
    def _end(error: SourceError, now: float, cooldown_seconds: int, openings: int) -> float:
        """The stated one. If none lies ahead: a refusal waits the source's own cooldown, a failure a short
        while, and both longer with each opening."""
        if error.until is not None and error.until > now:
            return error.until
        if isinstance(error, AuthStale | GeoBlocked):
            return now + REFUSED_SECONDS
        if isinstance(error, _AT_ONCE):
            return now + float(min(cooldown_seconds * 2**openings, LONGEST_COOLDOWN_SECONDS))
        return now + float(min(PAUSE_SECONDS * 2**openings, LONGEST_PAUSE_SECONDS))


CLOSED = Health()
