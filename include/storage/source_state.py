"""What the processes share of the sources: their calls and their health, in Redis and in PostgreSQL.

Both stores hold the same and answer the same questions. Each change bears a stamp of its own, so that equal
stamps mean equal content; what to make of unequal ones is decided in `include.producers.shared_gate`.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from include.errors import MarketDataError


class StoreAway(MarketDataError):
    """A store does not answer."""

    retriable = True

    def __init__(self, store: SourceStore, reason: Exception) -> None:
        said = str(reason).strip().splitlines() or [type(reason).__name__]
        super().__init__(f"{store.name} does not answer: {said[0]}")
        self.store = store


class Call(NamedTuple):
    """One call to a source, as the quotas count it. `at_us` in UTC epoch microseconds."""

    id: str
    at_us: int
    cost: int


@dataclass(frozen=True, slots=True)
class Held:
    """What a store knows of one source. `health` is a JSON object, empty before the first change."""

    health: dict[str, Any]
    stamp: str = ""
    #: Counts the changes: of two states the higher one is newer.
    revision: int = 0
    #: The store cannot have lost a change since it last agreed with the other.
    is_whole: bool = True
    #: As it is stored: what a replacement is compared with.
    raw: bytes = b""


class SourceStore(Protocol):
    """Every method raises StoreAway. A unit is a call's share of a quota: a call of cost 2 has two."""

    name: str

    def locked(self, source: str) -> AbstractContextManager[None]:
        """A context in which no other process with this store changes the source, where it can promise that."""
        ...

    def read(self, source: str) -> Held: ...

    def replace(self, source: str, held: Held, following: Held, calls: Sequence[Call], purge_us: int) -> bool:
        """The state that follows `held`, further calls, and none from before `purge_us`; all or nothing.
        False if `held` is not what is there any more."""
        ...

    def calls(self, source: str) -> list[Call]: ...

    def unit_at(self, source: str, newer: int) -> int | None:
        """The time (µs) of the unit after which `newer` units were used; None if there are no more."""
        ...

    def units_since(self, source: str, since_us: int) -> int: ...

    def close(self) -> None: ...


def state_key(source: str) -> str:
    """The name of the source's state in Redis, and of its lock in PostgreSQL."""
    return f"source:health:{source}"
