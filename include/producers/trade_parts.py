"""What the trade stream works with; all of it is passed in."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from include.market.coverage import Coverage
from include.producers.publisher import Publisher
from include.producers.trade_socket import Connect, connect
from include.sources.base import Clock, FetchResult
from include.sources.client import SourceClient


class CoverageStore(Protocol):
    """Where coverage is kept; see include.storage.trade_coverage.PostgresCoverage."""

    def newest(self) -> Mapping[str, Coverage]: ...

    def save(self, coverages: Sequence[Coverage]) -> None: ...


class HeldLease(Protocol):
    """The lease that says that this process may publish; see include.storage.lease.Lease."""

    def heartbeat(self, details: dict[str, Any]) -> bool: ...


class Fallback(Protocol):
    """Current prices of another source while no trade can be had, and the record of the switch."""

    def poll(self, now_us: int, reason: str) -> FetchResult:
        """Prices from the next source that has them. Raises SourceError where none has."""
        ...

    @property
    def is_serving(self) -> bool:
        """Whether prices come from another source now, by the record."""
        ...

    def restored(self, now_us: int) -> None:
        """Trades come again."""
        ...


@dataclass(frozen=True, slots=True)
class StreamRules:
    """Times in seconds."""

    #: Without a trade for so long the socket is not relied on: REST is asked, at this pace.
    silence_seconds: float = 10.0
    poll_seconds: float = 5.0
    rotation_seconds: float = 23 * 3600.0
    flush_seconds: float = 0.25
    flush_events: int = 1_000
    heartbeat_seconds: float = 2.0
    #: After REST has failed, or had nothing new.
    pause_seconds: float = 2.0
    #: Prices of another source are asked for at this pace, and are over when trades have come for so long.
    fallback_seconds: float = 15.0
    steady_seconds: float = 30.0
    #: Without a finished write for so long the process is stuck, and ends.
    stuck_seconds: float = 120.0
    tick_seconds: float = 0.2


@dataclass(frozen=True, slots=True)
class StreamParts:
    """What the stream works with."""

    client: SourceClient
    publisher: Publisher
    store: CoverageStore
    lease: HeldLease
    fallback: Fallback
    clock: Clock
    connect: Connect = connect
    monotonic: Callable[[], float] = time.monotonic
