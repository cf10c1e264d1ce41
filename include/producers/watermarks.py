"""How far each source was published: what a batch starts from."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Protocol


class Watermarks(Protocol):
    """Event times in UTC epoch microseconds, by symbol; moved only after Kafka has confirmed."""

    def published_through(self, source: str, kind: str) -> dict[str, int]: ...

    def advance(self, source: str, kind: str, times: Mapping[str, int]) -> None:
        """Forward only: an older time changes nothing."""
        ...

    def close(self) -> None: ...


class MemoryWatermarks:
    """The in-memory twin of `include.storage.watermarks.PostgresWatermarks`."""

    def __init__(self) -> None:
        self._times: defaultdict[tuple[str, str], dict[str, int]] = defaultdict(dict)

    def published_through(self, source: str, kind: str) -> dict[str, int]:
        return dict(self._times[source, kind])

    def advance(self, source: str, kind: str, times: Mapping[str, int]) -> None:
        held = self._times[source, kind]
        for symbol, time in times.items():
            held[symbol] = max(time, held.get(symbol, 0))

    def close(self) -> None:
        """Nothing to close."""


class FrozenWatermarks:
    """Another one's watermarks, to be read only."""

    def __init__(self, held: Watermarks) -> None:
        self._held = held

    def published_through(self, source: str, kind: str) -> dict[str, int]:
        return self._held.published_through(source, kind)

    def advance(self, source: str, kind: str, times: Mapping[str, int]) -> None:
        """Nothing moves."""

    def close(self) -> None:
        """The other one is closed by its owner."""
