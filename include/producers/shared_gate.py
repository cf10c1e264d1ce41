"""The gate that all processes share: breaker, bans and quotas in Redis, with PostgreSQL behind.

What is never over: a call is counted, in every store that answers, before it is made, and all who ask see
one count. With both stores each change is made under PostgreSQL's lock and compared in Redis. Stores that do
not agree (one was away, was emptied, or came back with an older picture) are levelled first: the calls of
both, the newer health. PostgreSQL decides alone while Redis is away. Redis decides alone only as long as it
runs on since the two last agreed: after a restart it may have forgotten calls. With neither, nothing is asked.

What this does not cover is two losses in a row: calls that Redis counted while PostgreSQL was away, if Redis
loses them before the next call brings the two together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from threading import Lock
from typing import Self
from uuid import uuid4

import msgspec
import structlog

from include.errors import SourceError, Transient
from include.market.event import Source
from include.producers.quota import Limit, QuotaUse, kept_us, limits, refusal, used_by_others, uses
from include.settings import Settings, required
from include.sources.base import Declaration, Want
from include.sources.gate import WITHOUT_QUOTA
from include.sources.health import CLOSED, Health
from include.storage.source_postgres import PostgresSourceState
from include.storage.source_redis import RedisSourceState
from include.storage.source_state import Call, Held, SourceStore, StoreAway

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class SourceReport:
    """One source for people: `unit` is what its quotas count, `calls` or `weight`."""

    source: Source
    health: Health
    unit: str
    quotas: tuple[QuotaUse, ...]


@dataclass(frozen=True, slots=True)
class _Ledger:
    """A store's calls of one source."""

    store: SourceStore
    source: Source

    def unit_at(self, newer: int) -> int | None:
        return self.store.unit_at(self.source, newer)

    def units_since(self, since_us: int) -> int:
        return self.store.units_since(self.source, since_us)


#: From the health and the calls as they stand to the new health and further calls. Raises to refuse.
_Change = Callable[[Health, _Ledger], tuple[Health, Sequence[Call]]]


class SharedGate:
    """See Gate. One instance may be used from several threads."""

    def __init__(
        self, declarations: Iterable[Declaration], settings: Settings, front: SourceStore, behind: SourceStore
    ) -> None:
        self._declarations = {declaration.name: declaration for declaration in declarations}
        self._limits: dict[Source, tuple[Limit, ...]] = {
            name: limits(declaration, settings) for name, declaration in self._declarations.items()
        }
        self._front = front
        self._behind = behind
        self._threads = Lock()
        self._away: set[str] = set()

    @classmethod
    def connected(cls, declarations: Iterable[Declaration], settings: Settings) -> Self:
        """On the running stack's stores; connects at the first question. Raises SettingsError without a stack."""
        database_url = required(settings.writer_database_url or settings.database_url, "DATABASE_URL")
        redis_url = required(settings.redis_url, "REDIS_URL")
        return cls(declarations, settings, RedisSourceState(redis_url), PostgresSourceState(database_url))

    def admit(self, source: Source, want: Want, cost: int, now_us: int) -> None:
        """See Gate. Raises Transient where the call cannot be counted."""
        call = Call(uuid4().hex, now_us, cost)

        def admitted(health: Health, ledger: _Ledger) -> tuple[Health, Sequence[Call]]:
            health = health.admitted(want, now_us)
            refused = refusal(source, self._limits[source], ledger, cost, now_us)
            if refused is not None:
                raise refused
            return health, [call]

        self._change(source, now_us, admitted)

    def succeeded(self, source: Source, now_us: int, used: int | None = None) -> None:
        """See Gate. What others used of the quota is counted as a call of theirs."""
        call_id = uuid4().hex

        def answered(health: Health, ledger: _Ledger) -> tuple[Health, Sequence[Call]]:
            others = 0 if used is None else used_by_others(ledger, used, now_us)
            return health.after_success(now_us), [Call(call_id, now_us, others)] if others else []

        self._tell(source, now_us, answered)

    def failed(self, source: Source, want: Want, error: SourceError, now_us: int) -> None:
        """See Gate."""
        cooldown_seconds = self._declarations[source].cooldown_seconds
        self._tell(source, now_us, lambda health, _: (health.after_failure(want, error, now_us, cooldown_seconds), []))

    def health(self, source: Source) -> Health:
        """As it stands; closed where no store answers, which `admit` then says."""
        found = CLOSED

        def look(health: Health, ledger: _Ledger) -> tuple[Health, Sequence[Call]]:
            nonlocal found
            found = health
            return health, []

        self._tell(source, 0, look)
        return found

    def describe(self, now_us: int) -> list[SourceReport]:
        """Every source with its health and quotas. Raises Transient where no store answers."""
        reports = []
        for source, declaration in self._declarations.items():

            def look(
                health: Health, ledger: _Ledger, declaration: Declaration = declaration
            ) -> tuple[Health, Sequence[Call]]:
                quotas = uses(self._limits[declaration.name], ledger, now_us)
                reports.append(SourceReport(declaration.name, health, declaration.unit, quotas))
                return health, []

            self._change(source, now_us, look)
        return reports

    def spare(self, source: Source, now_us: int) -> int:
        """See Gate. Raises Transient where no store answers."""
        reports = [report for report in self.describe(now_us) if report.source == source]
        units = (quota.left - quota.limit.units // 2 for report in reports for quota in report.quotas)
        return max(0, min(units, default=WITHOUT_QUOTA))

    def close(self) -> None:
        self._front.close()
        self._behind.close()

    def _tell(self, source: Source, now_us: int, change: _Change) -> None:
        """What was seen is worth noting, but no reason to fail."""
        try:
            self._change(source, now_us, change)
        except Transient as error:
            log.error("source_state_not_noted", source=source, reason=str(error))

    def _change(self, source: Source, now_us: int, change: _Change) -> None:
        """Make a change in every store that answers, as one step. Raises Transient where none can be trusted."""
        with self._threads:
            stores = [self._front, self._behind]
            while stores:
                try:
                    with ExitStack() as locks:
                        for store in stores:
                            locks.enter_context(store.locked(source))
                        if self._changed(source, stores, now_us, change):
                            self._note_back(stores)
                            return
                except StoreAway as away:
                    self._note_away(away)
                    stores.remove(away.store)
        raise Transient(f"{source}: not asked: neither Redis nor PostgreSQL can count the call")

    def _changed(self, source: Source, stores: list[SourceStore], now_us: int, change: _Change) -> bool:
        """False if another process was first, and what there is must be read again."""
        held = [store.read(source) for store in stores]
        if stores == [self._front] and not held[0].is_whole:
            raise Transient(
                f"{source}: not asked: PostgreSQL does not answer, and Redis may have forgotten calls since they agreed"
            )
        purge_us = now_us - kept_us(self._limits[source])
        if len({one.stamp for one in held}) > 1 or not all(one.is_whole for one in held):
            self._level(source, stores, held, purge_us)
            return False
        health = msgspec.convert(held[0].health, Health)
        changed, calls = change(health, _Ledger(stores[0], source))
        if changed == health and not calls:
            return True
        following = _following(held[0], changed)
        # Redis first: only there another process can have been first. `all` stops at the one that was beaten.
        return all(
            store.replace(source, one, following, calls, purge_us) for store, one in zip(stores, held, strict=True)
        )

    def _level(self, source: Source, stores: list[SourceStore], held: list[Held], purge_us: int) -> None:
        """Give every store the calls of all and the newest health."""
        newest = max(held, key=lambda one: one.revision)
        following = _following(newest, msgspec.convert(newest.health, Health))
        known = [set(store.calls(source)) for store in stores]
        every_call = set[Call]().union(*known)
        for store, one, calls in zip(stores, held, known, strict=True):
            if not store.replace(source, one, following, list(every_call - calls), purge_us):
                return
        log.info("source_state_levelled", source=source, calls=len(every_call))

    def _note_away(self, away: StoreAway) -> None:
        if away.store.name not in self._away:
            log.warning("source_store_away", store=away.store.name, reason=str(away))
            self._away.add(away.store.name)

    def _note_back(self, stores: Iterable[SourceStore]) -> None:
        for name in self._away & {store.name for store in stores}:
            log.info("source_store_back", store=name)
            self._away.remove(name)


def _following(held: Held, health: Health) -> Held:
    return Held(msgspec.to_builtins(health), stamp=uuid4().hex, revision=held.revision + 1)
