"""Who may ask a source now: quotas, bans and the breaker, shared by every process that asks."""

from __future__ import annotations

from typing import Protocol

from include.errors import SourceError
from include.market.event import Source
from include.sources.base import Want
from include.sources.health import CLOSED, Health

#: Units at a time of a source that has no quota.
WITHOUT_QUOTA = 1


class Gate(Protocol):
    """Asked before each call and told after it. Times in UTC epoch microseconds."""

    def admit(self, source: Source, want: Want, cost: int, now_us: int) -> None:
        """Counts the call and lets it through, or raises what it would meet, with `until`: Banned,
        RateLimited, QuotaExhausted, PlanForbidden, BreakerOpen. A call that is not counted is not made."""
        ...

    def succeeded(self, source: Source, now_us: int, used: int | None = None) -> None:
        """The source answered; `used` is its own count of the running minute, where it says so."""
        ...

    def failed(self, source: Source, want: Want, error: SourceError, now_us: int) -> None:
        """The source failed or refused."""
        ...

    def health(self, source: Source) -> Health: ...

    def spare(self, source: Source, now_us: int) -> int:
        """Units that may be used now for what does not hurry: half of each quota is left to the polls."""
        ...

    def close(self) -> None: ...


class OpenGate:
    """The in-memory twin without quotas: the breaker and the bans of one process."""

    def __init__(self) -> None:
        self._health: dict[Source, Health] = {}

    def admit(self, source: Source, want: Want, cost: int, now_us: int) -> None:
        self._health[source] = self.health(source).admitted(want, now_us)

    def succeeded(self, source: Source, now_us: int, used: int | None = None) -> None:
        self._health[source] = self.health(source).after_success(now_us)

    def failed(self, source: Source, want: Want, error: SourceError, now_us: int) -> None:
        self._health[source] = self.health(source).after_failure(want, error, now_us)

    def health(self, source: Source) -> Health:
        return self._health.get(source, CLOSED)

    def spare(self, source: Source, now_us: int) -> int:
        return WITHOUT_QUOTA

    def close(self) -> None:
        """Nothing to close."""
