"""What the sandbox was asked: a bounded log, counts, and the real limits that it holds its callers to."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from include.sandbox.market import iso

LOGGED_CALLS = 10_000


class Call(msgspec.Struct, frozen=True):
    """One call. `query` is without keys and crumbs; `status` 0: no answer was given in whole."""

    at: float
    source: str
    path: str
    query: str
    symbols: Sequence[str]
    cost: int
    status: int
    fault: str | None = None

    def as_json(self) -> dict[str, Any]:
        return {**msgspec.structs.asdict(self), "time": iso(int(self.at))}


class Limit(NamedTuple):
    """At most `amount` of cost in any `seconds`; the fault `refusal` is what a caller over it gets."""

    amount: int
    seconds: int
    refusal: str


#: What the real sources hold a caller to (a free key, where there are keys).
LIMITS: Mapping[str, tuple[Limit, ...]] = {
    "binance": (Limit(6_000, 60, "429"),),
    "alpha_vantage": (Limit(5, 60, "burst"), Limit(25, 86_400, "daily")),
    "coingecko": (Limit(30, 60, "429"),),
    # Connections of its websockets.
    "binance:stream": (Limit(300, 300, "ws-refuse"),),
}


class Meter:
    """What was used in the last `seconds`, at any moment: a rolling window, stricter than a calendar minute."""

    def __init__(self, limit: Limit) -> None:
        self.limit = limit
        self._spent: deque[tuple[float, int]] = deque()
        self._used = 0

    def used(self, now: float) -> int:
        while self._spent and self._spent[0][0] <= now - self.limit.seconds:
            self._used -= self._spent.popleft()[1]
        return self._used

    def add(self, cost: int, now: float) -> None:
        self._spent.append((now, cost))
        self._used += cost

    def frees_at(self) -> float:
        """When the oldest use is forgotten; epoch seconds."""
        return self._spent[0][0] + self.limit.seconds


class CallBook:
    """The calls of all sources. Times in UTC epoch seconds."""

    def __init__(self, limits: Mapping[str, tuple[Limit, ...]] = LIMITS) -> None:
        self._log: deque[Call] = deque(maxlen=LOGGED_CALLS)
        self._meters = {source: [Meter(limit) for limit in rows] for source, rows in limits.items()}
        #: By source and route, for the status.
        self.counts: dict[str, Counter[str]] = {}
        self._totals: dict[str, Counter[str]] = {}

    def open(self, source: str, path: str) -> None:
        """Makes a route's count begin with zero."""
        self.counts.setdefault(source, Counter())[path] = 0
        self._totals.setdefault(source, Counter(calls=0, cost=0, calls_while_banned=0, calls_over_limit=0))

    def used(self, source: str, now: float) -> int:
        """Of the source's first limit; 0 without one."""
        meters = self._meters.get(source)
        return meters[0].used(now) if meters else 0

    def over(self, source: str, now: float) -> Meter | None:
        """The limit that leaves no room for a further call, the longest first."""
        meters = self._meters.get(source, ())
        return next((meter for meter in reversed(meters) if meter.used(now) >= meter.limit.amount), None)

    def note(self, what: str, source: str) -> None:
        """Counts a call that should not have been made."""
        self._totals[source][what] += 1

    def add(self, call: Call, route: str) -> None:
        """A call over a limit or under a fault costs what any call does: the sources count those too."""
        self._log.append(call)
        self.counts[call.source][route] += 1
        self._totals[call.source].update(calls=1, cost=call.cost)
        self.spend(call.source, call.at, call.cost)

    def spend(self, limited: str, now: float, cost: int = 1) -> None:
        """Counts towards the limits of this name."""
        for meter in self._meters.get(limited, ()):
            meter.add(cost, now)

    def as_json(self, source: str | None = None, since: float = 0) -> dict[str, Any]:
        """`{"totals": {source: {…}}, "calls": […]}`, oldest first."""
        calls = [call.as_json() for call in self._log if call.at >= since and source in (None, call.source)]
        totals = {name: counts for name, counts in self._totals.items() if source in (None, name)}
        return {"totals": totals, "calls": calls}
