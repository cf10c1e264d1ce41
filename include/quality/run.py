"""One run of the checks: validate, find the keys of what fails, measure each symbol, write it all down."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from tenacity import RetryError, Retrying, retry_if_result, stop_after_delay, wait_fixed

from include.errors import SettingsError, Unreachable
from include.quality import data_docs
from include.quality.measures import symbol_results
from include.quality.suites import Check, Scope, Suite, select
from include.storage.quality_store import REACH, Before, QualityStore, Result, TopicEnd

if TYPE_CHECKING:
    # It brings Great Expectations, which takes seconds.
    from include.quality.validation import Validator, Verdict

#: Keys that a result keeps of its failing rows.
KEYS_KEPT = 20
#: More rows of one check than this are not held: then it is the check that should be looked at, or the source.
HOLD_AT_MOST = 10_000
#: The stream is at most a trigger behind, and needs a minute or two after a start; a longer way is a finding.
STREAM_SECONDS = 180.0
LEDGER_SUITE = "stream_batches"
#: The check that needs what Kafka says; the others of its suite do not.
KAFKA_CHECK = "ledger_equals_kafka"

Hold = Callable[[Check, Sequence[dict[str, Any]]], int]


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked for: no suites: all; `symbols` None: all that are collected."""

    run_id: str
    since: datetime
    until: datetime
    suites: tuple[str, ...] = ()
    symbols: tuple[str, ...] | None = None
    dag_run_id: str | None = None

    @property
    def covered(self) -> tuple[datetime, datetime]:
        return self.since, self.until


@dataclass(frozen=True, slots=True)
class Report:
    """What a run found; `results` has a row for each check, then those of the symbols."""

    request: Request
    results: tuple[Result, ...]
    held: int

    def failed(self, severity: str) -> list[Result]:
        """The checks, not the symbols', that failed with this severity."""
        return [each for each in self.checks if not each.passed and each.severity == severity]

    @property
    def checks(self) -> list[Result]:
        return [each for each in self.results if each.symbol is None]

    def summary(self) -> dict[str, Any]:
        """Counts and one sentence."""
        critical, warnings = self.failed("critical"), self.failed("warning")
        passed = sum(each.passed for each in self.checks)
        words = f"{passed} of {len(self.checks)} checks passed"
        if critical:
            words += f"; critical: {', '.join(each.check_name for each in critical)}"
        if warnings:
            words += f"; warnings: {', '.join(each.check_name for each in warnings)}"
        if self.held:
            words += f"; {self.held} rows held in quarantine"
        counts = {"passed": passed, "failed_critical": len(critical), "failed_warning": len(warnings)}
        return {**counts, "summary": words}


def run_checks(
    request: Request,
    store: QualityStore,
    validator: Callable[[], Validator],
    *,
    limit_seconds: int,
    ends: Callable[[], Iterable[TopicEnd]],
    hold: Hold,
    docs: data_docs.Docs,
) -> Report:
    """Run, record, hold what fails a critical validity check, and bring Data Docs up to date.

    `validator` is called when the ledger has come so far: Great Expectations takes seconds of processor time, which a
    stream that starts has better use for. `ends` asks Kafka; `hold` takes a check and the full keys of its failing
    rows, and says how many are new. Where Kafka does not answer, only the check that compares with it is not done.
    Raises SettingsError for a suite or symbol that is not there, psycopg.Error.
    """
    suites = select(request.suites)
    _check_symbols(request.symbols, store)
    scope = Scope(request.since, request.until, request.symbols, limit_seconds)
    store.begin(request.run_id, request.dag_run_id, request.covered, [suite.name for suite in suites], request.symbols)
    unasked = None
    if any(suite.name == LEDGER_SUITE for suite in suites):
        unasked = _observe(store, ends)
    docs.prune()
    verdicts = [_known(verdict, unasked) for verdict in validator().run(suites, scope, request.run_id)]
    by_name = {suite.name: suite for suite in suites}
    results = [_result(verdict, by_name[verdict.suite], scope, store) for verdict in verdicts]
    held = sum(_held(verdict, by_name[verdict.suite], scope, store, hold) for verdict in verdicts)
    for suite in suites:
        for check in suite.checks:
            if check.measure:
                results += symbol_results(suite, check, store.rows(scope.bind(suite.rows), 100_000))
    report = Report(request, tuple(results), held)
    store.finish(request.run_id, report.results, request.covered, report.summary())
    docs.publish(report)
    return report


def window(before: Before, now: datetime, overlap: timedelta = timedelta(hours=1)) -> datetime:
    """Where a scheduled run begins: an hour before the end of the last one; the first of a day looks at the day before.

    Further back, up to REACH, where events of older days have come since the last run, and where a fault lies that an
    open alert tells of: what has not been looked at again is not mended.
    """
    yesterday = (now - timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
    begin = yesterday
    if before.covered_until is not None and before.covered_until.date() == now.date():
        begin = max(yesterday, before.covered_until - overlap)
    if before.oldest_came is not None:
        begin = min(begin, max(before.oldest_came, yesterday - REACH))
    if before.oldest_fault is not None and before.oldest_fault >= yesterday - REACH:
        begin = min(begin, before.oldest_fault)
    return begin.replace(minute=begin.minute // 5 * 5, second=0, microsecond=0)


def await_start(store: QualityStore) -> None:
    """A platform that was just started has nothing new to check yet, and better use for its processors."""
    _await(lambda: store.is_starting(STREAM_SECONDS))


def _observe(store: QualityStore, ends: Callable[[], Iterable[TopicEnd]]) -> str | None:
    """Why Kafka could not be asked; None if it was, and the stream had time to come as far."""
    try:
        store.observe(ends())
    except Unreachable as error:
        return str(error)
    _await_stream(store)
    return None


def _known(verdict: Verdict, unasked: str | None) -> Verdict:
    if unasked is None or verdict.check.name != KAFKA_CHECK:
        return verdict
    return replace(verdict, passed=False, observed=f"could not be checked: {unasked}", failing_rows=0)


def _await_stream(store: QualityStore) -> None:
    """Give the ledger the time of a few batches to reach what Kafka had; how far it came is for the check to say."""
    _await(lambda: store.topics_behind() > 0)


def _await(waits: Callable[[], bool]) -> None:
    polls = Retrying(retry=retry_if_result(bool), stop=stop_after_delay(STREAM_SECONDS), wait=wait_fixed(1))
    try:
        polls(waits)
    except RetryError:
        return


def _result(verdict: Verdict, suite: Suite, scope: Scope, store: QualityStore) -> Result:
    check = verdict.check
    keys = store.rows(_keys_query(check, suite, scope), KEYS_KEPT) if verdict.failing_rows and check.keys_query else []
    return Result(
        suite=suite.name,
        check_name=check.name,
        dimension=check.dimension,
        severity=check.severity,
        passed=verdict.passed,
        observed=verdict.observed,
        expected=check.expected,
        reason=check.reason,
        measured=float(verdict.failing_rows),
        failing_rows=verdict.failing_rows,
        failing_keys=[{name: _plain(value) for name, value in row.items()} for row in keys],
    )


def _held(verdict: Verdict, suite: Suite, scope: Scope, store: QualityStore, hold: Hold) -> int:
    if verdict.passed or not verdict.check.quarantine or not 0 < verdict.failing_rows <= HOLD_AT_MOST:
        return 0
    return hold(verdict.check, store.rows(_keys_query(verdict.check, suite, scope), HOLD_AT_MOST))


def _keys_query(check: Check, suite: Suite, scope: Scope) -> str:
    batch = f"({scope.bind(suite.rows)}) AS subselect"
    return scope.bind(check.keys_query or "").replace("{batch}", batch)


def _check_symbols(symbols: Sequence[str] | None, store: QualityStore) -> None:
    known = set(store.known_symbols())
    for symbol in symbols or ():
        if symbol not in known:
            raise SettingsError(f"{symbol} is not collected here; these are: {', '.join(sorted(known))}")


def _plain(value: Any) -> Any:
    return value if value is None or isinstance(value, (int, str, bool)) else str(value)
