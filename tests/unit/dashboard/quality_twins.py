"""An in-memory twin of the quality reader, and rows to fill it with."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from include.storage.quality_rows import (
    ArchiveDays,
    Change,
    CheckResult,
    HeldEvent,
    RatePoint,
    Run,
    SeriesPoint,
)
from include.storage.read_connections import DatabaseUnavailable

AT = datetime(2026, 3, 2, 14, 0, tzinfo=UTC)
RUN = Run(
    run_id="scheduled-2026-03-02",
    dag_run_id="scheduled__2026-03-02T14:00:00+00:00",
    started_at=AT,
    finished_at=AT + timedelta(seconds=9),
    covered_from=AT - timedelta(hours=1),
    covered_until=AT,
    suites=["candles", "symbol_freshness"],
    symbols=None,
    passed=8,
    failed_critical=1,
    failed_warning=1,
    summary="8 of 10 checks passed",
)
UNDER_WAY = replace(
    RUN, run_id="next", started_at=AT + timedelta(minutes=10), finished_at=None, passed=None, failed_critical=None,
    failed_warning=None, summary=None,
)  # fmt: skip
CHECK = CheckResult(
    checked_at=AT,
    suite="candles",
    check_name="candles_keys_unique",
    dimension="duplicates",
    severity="critical",
    symbol=None,
    passed=False,
    observed="2 rows fail",
    expected="every key once",
    measured=2.0,
    reason="A window has one candle.",
    failing_rows=45,
    failing_keys=[{"symbol": "AAPL", "times": 2}, {"symbol": "<b>X</b>", "times": None}],
)
FRESH = replace(
    CHECK, suite="symbol_freshness", check_name="symbol_freshness", dimension="freshness", symbol="AAPL", passed=True,
    observed="last event 13:59:19, 41 s of trading ago", expected="at most 5 min while its market is open",
    measured=41.0, failing_rows=0, failing_keys=[],
)  # fmt: skip
HOLED = replace(
    FRESH, suite="symbol_completeness", check_name="symbol_completeness", dimension="completeness", severity="warning",
    passed=False, observed="61 of 70 minutes, 9 missing", expected="no hole over 5 min", measured=61 / 70,
)  # fmt: skip
PASSED = replace(CHECK, check_name="candles_columns", dimension="schema", passed=True, observed="as expected",
                 failing_rows=0, failing_keys=[])  # fmt: skip
CHANGE = Change(
    "candles", "candles_keys_unique", "duplicates", "critical", None, False, "as expected", "2 rows fail"
)  # fmt: skip
HELD = HeldEvent("yahoo:AAPL:bar60:0", 1, AT, "AAPL", "wicks", "A bad print.", AT, RUN.run_id)
DAYS = ArchiveDays("market_events", 7, 23, 300, AT.date(), 1_000_000, 42_000_000)


def series(passed: bool = True, **changes: Any) -> SeriesPoint:
    return replace(SeriesPoint("AAPL", "freshness", AT, passed, 41.0), **changes)


def rate(critical: int = 0, warnings: int = 0, minutes: int = 0) -> RatePoint:
    at = AT + timedelta(minutes=minutes)
    return RatePoint(f"run-{minutes}", at, 10 - critical - warnings, critical, warnings, at)


class MemoryQuality:
    """`QualityReader` over lists; `up = False` is an outage. `asked` has the spans of the courses."""

    def __init__(self, *runs: Run) -> None:
        self.runs = list(runs)
        self.found = [CHECK, HOLED, FRESH, PASSED]
        self.up = True
        self.asked: list[tuple[datetime, datetime, int]] = []

    def newest_run(self) -> Run | None:
        return self._last([run for run in self._all() if run.finished_at])

    def unfinished_run(self) -> Run | None:
        newest = self.newest_run()
        return self._last([run for run in self._all() if not run.finished_at and run is not newest])

    def run(self, run_id: str) -> Run | None:
        return next((run for run in self._all() if run.run_id == run_id), None)

    def neighbours(self, run: Run) -> tuple[str | None, str | None]:
        self._all()
        return "older", None

    def results(self, run_id: str, limit: int = 2_000) -> list[CheckResult]:
        self._all()
        return self.found[:limit] if run_id == RUN.run_id else []

    def rates(self, since: datetime, until: datetime, points: int = 300) -> list[RatePoint]:
        self._all()
        self.asked.append((since, until, points))
        return [rate()]

    def series(
        self, since: datetime, until: datetime, symbol: str | None = None, points: int = 300
    ) -> list[SeriesPoint]:
        self._all()
        return [series(symbol=each) for each in ("AAPL", "BTC-USD") if symbol in (None, each)]

    def day_before(self, run: Run) -> Run | None:
        self._all()
        return replace(RUN, run_id="before", started_at=run.started_at - timedelta(days=1))

    def changes(self, run: Run, before: Run) -> list[Change]:
        return [CHANGE]

    def held(self, limit: int = 50) -> list[HeldEvent]:
        return [HELD]

    def held_count(self) -> int:
        return 3

    def archive(self) -> list[ArchiveDays]:
        return [DAYS]

    def _all(self) -> list[Run]:
        if not self.up:
            raise DatabaseUnavailable("the database does not answer: connection refused")
        return self.runs

    @staticmethod
    def _last(runs: list[Run]) -> Run | None:
        return max(runs, key=lambda run: run.started_at, default=None)
