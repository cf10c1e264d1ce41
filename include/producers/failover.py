"""Which source is asked, in which order: failover by failure and capability, fail-back with hysteresis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import structlog

from include.market.event import AssetClass, Source
from include.sources.base import Capability, Want
from include.sources.client import SourceClient
from include.sources.gate import Gate

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Switch:
    """From one source to another, for one kind of fact."""

    asset_class: str
    want: str
    from_source: str
    to_source: str
    reason: str


class Switchboard(Protocol):
    """Remembers which source serves what; every process sees the same."""

    def active(self, asset_class: str, kind: str) -> str | None:
        """The source that serves now; None if nothing was ever switched."""
        ...

    def record(self, asset_class: str, kind: str, from_source: str | None, to_source: str, reason: str) -> None: ...

    def close(self) -> None: ...


@dataclass(slots=True)
class MemorySwitchboard:
    """The in-memory twin of `include.storage.source_switches.SourceSwitches`."""

    switches: list[Switch] = field(default_factory=list)

    def active(self, asset_class: str, kind: str) -> str | None:
        found = [s for s in self.switches if (s.asset_class, s.want) == (asset_class, kind)]
        return found[-1].to_source if found else None

    def record(self, asset_class: str, kind: str, from_source: str | None, to_source: str, reason: str) -> None:
        self.switches.append(Switch(asset_class, kind, from_source or "", to_source, reason))

    def close(self) -> None:
        """Nothing to close."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A source that can give what is wanted."""

    client: SourceClient
    capability: Capability

    @property
    def name(self) -> Source:
        return self.client.name


class SourceChain:
    """The sources for one kind of fact, best first, and the one of them that serves now.

    A better source that failed is asked for a single instrument at each poll (a probe: its facts are
    left for later, so that an instrument does not jump to and fro); it serves again once its breaker
    is closed and as many answers in a row have come as the breaker wants.
    """

    def __init__(
        self,
        asset_class: AssetClass,
        want: Want,
        candidates: Sequence[Candidate],
        gate: Gate,
        board: Switchboard,
        givers: Sequence[Source] = (),
    ) -> None:
        """`givers` are all sources that may have given such facts, where only some of them are asked."""
        self.asset_class = asset_class
        self.sources = list(givers) or [candidate.name for candidate in candidates]
        self.want = want
        self._candidates = list(candidates)
        self._gate = gate
        self._board = board
        held = board.active(asset_class, want.name)
        names = [candidate.name for candidate in candidates]
        self._active = names.index(held) if held in names else 0

    @property
    def active(self) -> Candidate:
        return self._candidates[self._active]

    def to_probe(self) -> list[Candidate]:
        """Better sources than the active one that have not recovered yet."""
        return [better for better in self._better() if not self._gate.health(better.name).is_steady]

    def order(self) -> list[Candidate]:
        """Who is asked for what is wanted, one after the other: those that have recovered, the active
        one, then the others, best first."""
        recovered = [better for better in self._better() if self._gate.health(better.name).is_steady]
        others = [other for other in self._candidates if other is not self.active and other not in recovered]
        return [*recovered, self.active, *others]

    def served_by(self, candidate: Candidate, reason: str) -> Switch | None:
        """Says who served; the switch, if it was another one than before."""
        if candidate is self.active:
            return None
        switch = Switch(self.asset_class, self.want.name, self.active.name, candidate.name, reason)
        self._board.record(switch.asset_class, switch.want, switch.from_source, switch.to_source, reason)
        log.warning(
            "source.switched",
            asset_class=switch.asset_class,
            kind=switch.want,
            from_source=switch.from_source,
            to_source=switch.to_source,
            reason=reason,
        )
        self._active = self._candidates.index(candidate)
        return switch

    def carried_by(self, name: Source, reason: str) -> list[Switch]:
        """Answers to another question bring these facts too: their giver serves, once it has recovered."""
        given_back = [better for better in self._better() if better.name == name and self._gate.health(name).is_steady]
        return [switch for better in given_back if (switch := self.served_by(better, reason)) is not None]

    def _better(self) -> list[Candidate]:
        return self._candidates[: self._active]
