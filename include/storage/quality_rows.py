"""What is known of data quality, row by row. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class Run:
    """One row of `quality_runs`; `symbols` None: all. Counts are None until it has finished."""

    run_id: str
    dag_run_id: str | None
    started_at: datetime
    finished_at: datetime | None
    covered_from: datetime
    covered_until: datetime
    suites: list[str]
    symbols: list[str] | None
    passed: int | None
    failed_critical: int | None
    failed_warning: int | None
    summary: str | None

    @property
    def checks(self) -> int:
        return (self.passed or 0) + (self.failed_critical or 0) + (self.failed_warning or 0)

    @property
    def pass_rate(self) -> float | None:
        """Share of its checks that passed, 0 to 1; None while there is none."""
        return (self.passed or 0) / self.checks if self.checks else None


@dataclass(frozen=True, slots=True)
class CheckResult:
    """One row of `data_quality_results`: a check, or where `symbol` is set a symbol's measure.

    `measured`: freshness in traded seconds since the last event, completeness as the share 0 to 1 of the expected
    minutes that is not missing, of other checks the failing rows. `failing_keys`: the first keys of `failing_rows`.
    """

    checked_at: datetime
    suite: str
    check_name: str
    dimension: str
    severity: str
    symbol: str | None
    passed: bool
    observed: str | None
    expected: str | None
    measured: float | None
    reason: str | None
    failing_rows: int
    failing_keys: list[dict[str, Any]]

    @property
    def subject(self) -> str:
        return self.check_name if self.symbol is None else f"{self.check_name} of {self.symbol}"

    @property
    def words(self) -> str:
        """One line: what it is about, what was seen, what should be."""
        return f"{self.severity}: {self.subject}: {self.observed}; expected: {self.expected}"


@dataclass(frozen=True, slots=True)
class RatePoint:
    """The worst run of the step that begins at `step`."""

    run_id: str
    started_at: datetime
    passed: int
    failed_critical: int
    failed_warning: int
    step: datetime

    @property
    def pass_rate(self) -> float:
        checks = self.passed + self.failed_critical + self.failed_warning
        return self.passed / checks if checks else 1.0


@dataclass(frozen=True, slots=True)
class SeriesPoint:
    """A symbol's worst measure of the step that begins at `at`; `measured` as in CheckResult."""

    symbol: str
    dimension: str
    at: datetime
    passed: bool
    measured: float | None


@dataclass(frozen=True, slots=True)
class Change:
    """A check, or a symbol's measure, that ended otherwise than a day before; `passed` is how it is now."""

    suite: str
    check_name: str
    dimension: str
    severity: str
    symbol: str | None
    passed: bool
    observed_before: str | None
    observed_now: str | None


@dataclass(frozen=True, slots=True)
class HeldEvent:
    """An event in quarantine that nobody has decided about; its key and why, no figure of it."""

    event_id: str
    revision: int
    event_time: datetime
    symbol: str
    check_name: str
    reason: str
    quarantined_at: datetime
    run_id: str | None


@dataclass(frozen=True, slots=True)
class ArchiveDays:
    """How many days of a table, until today, are hot, warm and cold, and what their files hold."""

    relation: str
    hot: int
    warm: int
    cold: int
    first_day: date
    rows_filed: int
    bytes_filed: int
