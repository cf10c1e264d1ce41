"""Holes found, filled within the quota that the polls leave, or given up with the reason."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from include.market.event import ASSET_CLASSES, AssetClass
from include.market.gaps import Asked, Span
from include.storage.archive_catalogue import DayIsCold
from include.storage.gap_store import PROOF_AFTER, Due, GapStore
from include.storage.history_store import OtherShares

#: So far back holes are looked for by themselves, from a symbol's first candle on; older days are for backfill_bars.
LOOK_BACK = timedelta(days=7)
#: The last minutes are still on their way.
ON_ITS_WAY = timedelta(minutes=3)
#: A source may for a while not know a symbol that it knows: only after so many times, over hours, is it not listed.
UNKNOWN_AFTER = 7
LOST_AFTER = timedelta(days=1)
ON_THEIR_WAY = "its trades are published, and not stored yet"
#: Symbols and days that one run asks for at most.
AT_ONCE = 20


@dataclass(frozen=True, slots=True)
class Found:
    """What a look changed in the ledger, what is open, and the classes with gaps that may be asked for now."""

    opened: int
    extended: int
    filled: int
    open: int
    minutes: int
    due: tuple[AssetClass, ...]

    def words(self) -> str:
        """One line."""
        changed = f"{self.opened} gaps opened, {self.extended} grown, {self.filled} filled"
        return f"{changed}; {self.open} are open, of {self.minutes} minutes"


@dataclass(slots=True)
class Repaired:
    """What a repair did: `asked` symbols and days; `put_off` and `given_up` of them."""

    asked: int = 0
    calls: int = 0
    put_off: int = 0
    given_up: int = 0
    waiting: int = 0

    def words(self) -> str:
        """One line."""
        return (
            f"asked for {self.asked} symbols and days in {self.calls} calls: {self.put_off} put off, "
            f"{self.given_up} gaps given up; {self.waiting} wait for quota"
        )

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def look(store: GapStore, now: datetime) -> Found:
    """Bring the ledger in step with what the tables lack. Safe to call at any time. Raises psycopg.Error."""
    until = now.replace(second=0, microsecond=0) - ON_ITS_WAY
    counts = store.follow(Span(until - LOOK_BACK, until))
    due: tuple[AssetClass, ...] = tuple(name for name in ASSET_CLASSES if store.due(name, 1))
    return Found(**counts, **store.counts(), due=due)


def repair_gaps(
    store: GapStore,
    asset_class: AssetClass,
    ask: Callable[[Due, Sequence[Span]], Asked],
    spare: Callable[[], int],
    now: datetime,
) -> Repaired:
    """Ask for what is due, the most valuable first, as long as `spare()` calls are left for it.

    `ask` fetches, stores and lets the ledger follow. What the sources do not have is given up and not asked for again;
    what nobody could answer is put off. Raises what `ask` raises: what it was about is then asked for again later.
    """
    done = Repaired()
    waiting = store.due(asset_class, AT_ONCE)
    for number, due in enumerate(waiting):
        if spare() <= 0:
            done.waiting = len(waiting) - number
            break
        spans = store.spans(due)
        store.begin(due)
        done.asked += 1
        try:
            asked = ask(due, spans)
        except DayIsCold as error:
            done.given_up += store.give_up(due, str(error))
            continue
        except OtherShares as error:
            store.put_off(due, str(error))
            done.put_off += 1
            continue
        done.calls += asked.calls
        if asked.is_unknown and due.attempts >= UNKNOWN_AFTER:
            done.given_up += store.give_up(due, asked.reason, "not listed")
        elif _is_proof(asked, due, now):
            done.given_up += store.give_up(due, f"{' and '.join(asked.sources)} had no bar of it")
        else:
            store.put_off(due, asked.reason or (ON_THEIR_WAY if asked.left else "too young to be given up"))
            done.put_off += 1
    return done


def _is_proof(asked: Asked, due: Due, now: datetime) -> bool:
    """Whether what did not come does not exist."""
    if asked.left:
        # Bars of minutes whose trades are published: those come by the stream, if not for a day, then not at all.
        return due.until < now - LOST_AFTER
    return asked.is_whole and bool(asked.sources) and due.until < now - PROOF_AFTER
