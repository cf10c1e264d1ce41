"""What the operations page shows of PostgreSQL, as rows."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class QueryFigures:
    """One query of the stream in the ledger. `rows_*` are of the last hour; a query without a batch has no row."""

    query_name: str
    batch_id: int
    committed_at: datetime
    rows_in: int
    rows_late: int
    rows_dead_lettered: int


@dataclass(frozen=True, slots=True)
class RowsOfMinute:
    """Rows that a query's batches took within one minute, by when they were committed."""

    query_name: str
    minute: datetime
    rows_in: int


@dataclass(frozen=True, slots=True)
class SourceRow:
    """`health` as the gate keeps it (see `include.sources.health.Health`); empty before the first call."""

    source: str
    health: dict[str, Any]
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Window:
    """A quota to look at: the calls of `source` in the last `seconds`."""

    source: str
    seconds: int


@dataclass(frozen=True, slots=True)
class Used:
    """Units used of a quota, and when the oldest of them leaves its window; None if none is used."""

    source: str
    seconds: int
    used: int
    frees_at: datetime | None


@dataclass(frozen=True, slots=True)
class GapRow:
    """Minutes in session that are missing: [gap_start, gap_end)."""

    symbol: str
    gap_start: datetime
    gap_end: datetime
    cause: str
    state: str
    reason: str | None
    attempts: int
    next_attempt_at: datetime | None

    @property
    def minutes(self) -> int:
        return round((self.gap_end - self.gap_start).total_seconds() / 60)


@dataclass(frozen=True, slots=True)
class GapCounts:
    """Of all gaps: how many, and their minutes, that are open (with those being repaired) and that stay open."""

    open: int = 0
    open_minutes: int = 0
    unfillable: int = 0
    unfillable_minutes: int = 0
