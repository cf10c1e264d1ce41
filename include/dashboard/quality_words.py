"""The state of the data in words and signs: what the quality page says first. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from include.dashboard.formatting import age_text, moment_text
from include.dashboard.quality_view import Picture
from include.dashboard.selection import QualitySelection
from include.storage.quality_rows import Run

#: A run takes seconds; the DAG breaks one off after this.
RUN_TAKES_AT_MOST = timedelta(minutes=30)
#: Runs are ten minutes apart: after three that did not come somebody should look.
LATE_AFTER = timedelta(minutes=30)
PASSED, FAILED, WARNED, NOTED = "✓", "✕", "▲", "●"


@dataclass(frozen=True, slots=True)
class Overall:
    """`kind`: good, warn, bad or waiting; `sign` says the same without colour."""

    sign: str
    kind: str
    title: str
    detail: str


def sign_of(passed: bool, severity: str) -> str:
    if passed:
        return PASSED
    return {"critical": FAILED, "warning": WARNED}.get(severity, NOTED)


def state_of(passed: bool, severity: str) -> str:
    """`passed`, or how bad the failure is: `critical`, `warning`, `info`."""
    return "passed" if passed else severity


def overall(picture: Picture, selection: QualitySelection) -> Overall:
    """The line on top, for each state that there is."""
    run = picture.run
    if not picture.reachable and not picture.is_known:
        return Overall(FAILED, "bad", "The database does not answer", "trying again every few seconds")
    if run is None and selection.run is not None:
        return Overall("?", "waiting", f"There is no run {selection.run}", "it was never begun, or under another name")
    if run is None:
        return _never(picture)
    if run.finished_at is None:
        return _unfinished(run, picture)
    critical, warnings = run.failed_critical or 0, run.failed_warning or 0
    detail = _detail(run)
    if critical:
        title = _counted(critical, "critical check fails", "critical checks fail")
        return Overall(FAILED, "bad", title + (f", {_warnings(warnings)}" if warnings else ""), detail)
    if warnings:
        return Overall(WARNED, "warn", f"No critical check fails, {_warnings(warnings)}", detail)
    return Overall(PASSED, "good", f"All {run.checks} checks pass", detail)


def remark(picture: Picture) -> str | None:
    """What else must be known about how current this is; None if nothing."""
    newest, unfinished = picture.newest, picture.unfinished
    if not picture.reachable and picture.is_known:
        return "The database does not answer: this is what was known last; trying again."
    if unfinished and newest and picture.run == newest:
        begun = f"{unfinished.started_at:%H:%M}"
        if _has_broken_off(unfinished, picture):
            return f"The run that began at {begun} has broken off: its log in Airflow says why."
        return f"A further run began at {begun}."
    if newest and newest.finished_at and picture.now - newest.finished_at > LATE_AFTER:
        age = age_text((picture.now - newest.finished_at).total_seconds())
        return f"No run has finished for {age}: is check_data_quality paused in Airflow?"
    return None


def scope_text(run: Run) -> str:
    """What it looked at."""
    suites = f"only {run.suites[0]}" if len(run.suites) == 1 else f"{len(run.suites)} suites"
    symbols = "all symbols" if run.symbols is None else f"only {', '.join(run.symbols)}"
    return f"looked at {moment_text(run.covered_from)} to {moment_text(run.covered_until)} UTC, {suites}, {symbols}"


def _detail(run: Run) -> str:
    finished = moment_text(run.finished_at) if run.finished_at else ""
    return f"{run.passed} of {run.checks} passed · {finished} UTC · {scope_text(run)}"


def _never(picture: Picture) -> Overall:
    if picture.unfinished is None:
        detail = "check_data_quality runs every ten minutes; to run it now, trigger it in Airflow"
        return Overall("?", "waiting", "Never checked yet", detail)
    if _has_broken_off(picture.unfinished, picture):
        return Overall(FAILED, "bad", "Never checked yet: the first run has broken off", "its log in Airflow says why")
    return Overall("…", "waiting", "Never checked yet: the first run is under way", "it takes a few seconds")


def _unfinished(run: Run, picture: Picture) -> Overall:
    if _has_broken_off(run, picture):
        return Overall(FAILED, "bad", "This run has broken off", f"begun {moment_text(run.started_at)} UTC")
    return Overall("…", "waiting", "This run is under way", f"since {moment_text(run.started_at)} UTC")


def _has_broken_off(run: Run, picture: Picture) -> bool:
    return picture.now - run.started_at > RUN_TAKES_AT_MOST


def _warnings(count: int) -> str:
    return _counted(count, "warning", "warnings")


def _counted(count: int, one: str, many: str) -> str:
    return f"{count} {one if count == 1 else many}"
