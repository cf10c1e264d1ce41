"""The in-memory twin of the stores of calls and health, which can be away, be emptied and come back older."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from include.storage.source_state import Call, Held, StoreAway

Snapshot = tuple[dict[str, tuple[Held, int]], dict[str, dict[str, Call]], dict[str, list[int]]]
#: Purging takes a walk over all calls, so it is done by the hour.
PURGE_US = 3_600_000_000


class MemoryStore:
    """`forgets`: as Redis, it is whole only as long as it has not been restarted."""

    def __init__(self, name: str, *, forgets: bool) -> None:
        self.name = name
        self.is_away = False
        self.changes = 0
        self._forgets = forgets
        self._run = 0
        self._states: dict[str, tuple[Held, int]] = {}
        self._calls: dict[str, dict[str, Call]] = {}
        self._units: dict[str, list[int]] = {}

    def snapshot(self) -> Snapshot:
        calls = {source: dict(known) for source, known in self._calls.items()}
        return dict(self._states), calls, {source: list(units) for source, units in self._units.items()}

    def restart(self, snapshot: Snapshot | None = None) -> None:
        """With what a snapshot holds, or with nothing. A snapshot can be used once."""
        self._states, self._calls, self._units = snapshot or ({}, {}, {})
        self._run += 1

    @contextmanager
    def locked(self, source: str) -> Iterator[None]:
        self._answer()
        yield

    def read(self, source: str) -> Held:
        self._answer()
        if source not in self._states:
            return Held({}, is_whole=not self._forgets)
        held, run = self._states[source]
        return replace(held, is_whole=not self._forgets or run == self._run)

    def replace(self, source: str, held: Held, following: Held, calls: Sequence[Call], purge_us: int) -> bool:
        self._answer()
        if self.read(source).stamp != held.stamp:
            return False
        self.changes += 1
        self._states[source] = following, self._run
        known, units = self._calls.setdefault(source, {}), self._units.setdefault(source, [])
        for call in calls:
            if call.id not in known:
                known[call.id] = call
                for _ in range(call.cost):
                    insort(units, call.at_us)
        if units and units[0] < purge_us - PURGE_US:
            del units[: bisect_left(units, purge_us)]
            self._calls[source] = {name: call for name, call in known.items() if call.at_us >= purge_us}
        return True

    def calls(self, source: str) -> list[Call]:
        self._answer()
        return list(self._calls.get(source, {}).values())

    def unit_at(self, source: str, newer: int) -> int | None:
        self._answer()
        units = self._units.get(source, [])
        return units[-newer - 1] if newer < len(units) else None

    def units_since(self, source: str, since_us: int) -> int:
        self._answer()
        units = self._units.get(source, [])
        return len(units) - bisect_left(units, since_us)

    def close(self) -> None:
        """Nothing to close."""

    def _answer(self) -> None:
        if self.is_away:
            raise StoreAway(self, ConnectionError("refused"))
