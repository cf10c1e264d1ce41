"""What people see of data quality, read only. One definition for page, API and command."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Protocol, TypeVar

from psycopg.rows import class_row

from include.storage import quality_sql as sql
from include.storage.quality_rows import (
    ArchiveDays,
    Change,
    CheckResult,
    HeldEvent,
    RatePoint,
    Run,
    SeriesPoint,
)
from include.storage.read_connections import ReadConnections

#: Steps of a course, at most one more than this: so many points of a symbol are sent.
POINTS = 300
#: Rows of one answer. A run has about 90 checks, and two measures a symbol.
MAX_RESULTS = 2_000
HELD_SHOWN = 50

Row = TypeVar("Row")


class QualityReads(Protocol):
    """The questions of page, API and command; every method may raise DatabaseUnavailable."""

    def newest_run(self) -> Run | None: ...
    def unfinished_run(self) -> Run | None: ...
    def run(self, run_id: str) -> Run | None: ...
    def neighbours(self, run: Run) -> tuple[str | None, str | None]: ...
    def results(self, run_id: str, limit: int = MAX_RESULTS) -> list[CheckResult]: ...
    def rates(self, since: datetime, until: datetime, points: int = POINTS) -> list[RatePoint]: ...
    def series(
        self, since: datetime, until: datetime, symbol: str | None = None, points: int = POINTS
    ) -> list[SeriesPoint]: ...
    def day_before(self, run: Run) -> Run | None: ...
    def changes(self, run: Run, before: Run) -> list[Change]: ...
    def held(self, limit: int = HELD_SHOWN) -> list[HeldEvent]: ...
    def held_count(self) -> int: ...
    def archive(self) -> list[ArchiveDays]: ...


class QualityReader(ReadConnections):
    """The same from PostgreSQL. Safe to call from several threads."""

    def newest_run(self) -> Run | None:
        """The run that finished last of those begun last; None: nothing was ever checked."""
        return self._one(Run, sql.NEWEST_RUN)

    def unfinished_run(self) -> Run | None:
        """A run that began after the newest finished one and has not ended, or has broken off."""
        return self._one(Run, sql.UNFINISHED_RUN)

    def run(self, run_id: str) -> Run | None:
        return self._one(Run, sql.RUN, {"run_id": run_id})

    def neighbours(self, run: Run) -> tuple[str | None, str | None]:
        """The finished runs before and after it."""
        with self.connection() as connection:
            found = connection.execute(sql.NEIGHBOURS, {"started_at": run.started_at}).fetchone() or {}
        return found.get("older"), found.get("newer")

    def results(self, run_id: str, limit: int = MAX_RESULTS) -> list[CheckResult]:
        """Failing first, by severity, suite and dimension; empty where they are only in the archive."""
        return self._all(CheckResult, sql.RESULTS, {"run_id": run_id, "limit": limit})

    def rates(self, since: datetime, until: datetime, points: int = POINTS) -> list[RatePoint]:
        """Runs begun in [since, until), oldest first, at most one a step of (until - since) / points."""
        return self._all(RatePoint, sql.RATES, _steps(since, until, points))

    def series(
        self, since: datetime, until: datetime, symbol: str | None = None, points: int = POINTS
    ) -> list[SeriesPoint]:
        """Freshness and completeness of each symbol, or of one, in [since, until); steps as in `rates`."""
        return self._all(SeriesPoint, sql.SERIES, {**_steps(since, until, points), "symbol": symbol})

    def day_before(self, run: Run) -> Run | None:
        """The run of the same suites and symbols nearest to 24 hours before, of those 18 to 48 hours before."""
        bound = {"started_at": run.started_at, "suites": run.suites, "symbols": run.symbols}
        return self._one(Run, sql.DAY_BEFORE, bound)

    def changes(self, run: Run, before: Run) -> list[Change]:
        """What passed before and fails now, then what failed before and passes now."""
        bound = {"run_id": run.run_id, "before": before.run_id, "limit": MAX_RESULTS}
        return self._all(Change, sql.CHANGES, bound)

    def held(self, limit: int = HELD_SHOWN) -> list[HeldEvent]:
        """Held last first."""
        return self._all(HeldEvent, sql.HELD, {"limit": limit})

    def held_count(self) -> int:
        with self.connection() as connection:
            return int((connection.execute(sql.HELD_COUNT).fetchone() or {"held": 0})["held"])

    def archive(self) -> list[ArchiveDays]:
        """One row a table that is kept by day."""
        return self._all(ArchiveDays, sql.ARCHIVE)

    def _all(self, row: type[Row], statement: str, bound: Mapping[str, Any] | None = None) -> list[Row]:
        with self.connection() as connection, connection.cursor(row_factory=class_row(row)) as cursor:
            return cursor.execute(statement, bound).fetchall()

    def _one(self, row: type[Row], statement: str, bound: Mapping[str, Any] | None = None) -> Row | None:
        found = self._all(row, statement, bound)
        return found[0] if found else None


def _steps(since: datetime, until: datetime, points: int) -> dict[str, Any]:
    step = max((until - since) / min(points, POINTS), timedelta(seconds=1))
    return {"since": since, "until": until, "step": step}
