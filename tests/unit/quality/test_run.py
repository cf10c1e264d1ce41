"""Where a run begins, what its report says, and the pages that show it."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from include.operators.quality import judge, requested, said
from include.quality.data_docs import Docs, render, slug
from include.quality.measures import span, symbol_results
from include.quality.run import Report, Request, window
from include.quality.suites import load_suites
from include.storage.quality_store import Before, Result

NOW = datetime(2025, 11, 28, 14, 7, 31, tzinfo=UTC)
MIDNIGHT = datetime(2025, 11, 28, tzinfo=UTC)
HOUR_AND_TEN_AGO = datetime(2025, 11, 28, 12, 55, tzinfo=UTC)
WEDNESDAY = datetime(2025, 11, 26, 3, 2, tzinfo=UTC)


def result(name: str, *, passed: bool, severity: str = "critical", symbol: str | None = None) -> Result:
    keys = [] if passed else [{"symbol": "<script>alert(1)</script>"}]
    return Result("candles", name, "validity", severity, passed, "seen", "wanted", "Why.", symbol, None, 3, keys)


def report(*results: Result, held: int = 0, run_id: str = "run") -> Report:
    return Report(Request(run_id, MIDNIGHT, NOW), results, held)


@pytest.mark.parametrize(
    ("before", "since"),
    [
        (Before(), MIDNIGHT - timedelta(days=1)),
        (Before(MIDNIGHT - timedelta(minutes=4)), MIDNIGHT - timedelta(days=1)),
        (Before(NOW - timedelta(minutes=10)), HOUR_AND_TEN_AGO),
        (Before(MIDNIGHT + timedelta(minutes=6)), MIDNIGHT - timedelta(minutes=55)),
        (Before(NOW - timedelta(minutes=10), NOW - timedelta(minutes=20)), HOUR_AND_TEN_AGO),
        (Before(NOW - timedelta(minutes=10), WEDNESDAY), WEDNESDAY - timedelta(minutes=2)),
        (Before(NOW - timedelta(minutes=10), None, WEDNESDAY), WEDNESDAY - timedelta(minutes=2)),
        (Before(NOW - timedelta(minutes=10), NOW - timedelta(days=900)), MIDNIGHT - timedelta(days=8)),
        (Before(NOW - timedelta(minutes=10), None, NOW - timedelta(days=900)), HOUR_AND_TEN_AGO),
    ],
)
def test_a_run_looks_an_hour_back_and_further_where_something_came_late_or_is_not_mended(
    before: Before, since: datetime
) -> None:
    assert window(before, NOW) == since


def test_the_form_becomes_a_request() -> None:
    form = {"suites": ["candles"], "day": "2025-11-27", "symbols": ["AAPL"]}
    asked = requested(form, "manual__2025-11-28T14:07:31+00:00", NOW, lambda suites: Before())
    assert asked.covered == (MIDNIGHT - timedelta(days=1), MIDNIGHT)
    assert (asked.suites, asked.symbols) == (("candles",), ("AAPL",))
    assert asked.run_id == "manual-2025-11-28T14-07-31-00-00"
    today = requested({**form, "day": "2025-11-28"}, "x", NOW, lambda suites: Before())
    assert today.until == NOW, "what is to come is not missing"
    empty = requested(
        {"suites": [], "day": None, "symbols": []}, "x", NOW, lambda suites: Before(NOW - timedelta(minutes=10))
    )
    assert (empty.symbols, empty.since) == (None, datetime(2025, 11, 28, 12, 55, tzinfo=UTC))


def test_the_summary_says_what_failed() -> None:
    found = report(
        result("a", passed=True), result("b", passed=False), result("c", passed=False, severity="warning"),
        result("d", passed=False, symbol="AAPL"), held=2,
    )  # fmt: skip
    assert found.summary() == {
        "passed": 1,
        "failed_critical": 1,
        "failed_warning": 1,
        "summary": "1 of 3 checks passed; critical: b; warnings: c; 2 rows held in quarantine",
    }


def test_the_run_fails_in_words_and_only_for_critical_checks() -> None:
    from airflow.sdk.exceptions import AirflowFailException

    assert judge({"failed_critical": 0, "critical": {}, "summary": "all passed"}) == "all passed"
    with pytest.raises(AirflowFailException, match="1 critical checks failed. b: AAPL: last event 16:00"):
        judge({"failed_critical": 1, "critical": {"b": "AAPL: last event 16:00"}, "summary": ""})
    with pytest.raises(AirflowFailException, match="nothing was checked: the log of validate_data"):
        judge(None)
    assert said("7 rows fail", []) == "7 rows fail"
    assert said("", [f"S{number}" for number in range(7)]) == "S0; S1; S2; S3; S4 and 2 more"


def test_each_symbol_gets_its_own_result_in_words() -> None:
    suite = next(suite for suite in load_suites() if suite.name == "symbol_completeness")
    row = {
        "symbol": "IBM", "passed": False, "expected_minutes": 390, "present_minutes": 350, "missing_minutes": 30,
        "longest_hole_seconds": 1800.0, "limit_seconds": 300.0,
    }  # fmt: skip
    [found] = symbol_results(suite, suite.checks[0], [row])
    assert found.observed == "350 of 390 minutes, longest hole 30 min, 30 missing"
    assert found.expected == "no hole over 5 min in its sessions"
    assert found.measured == pytest.approx(1 - 30 / 390)


@pytest.mark.parametrize(("seconds", "words"), [(0, "0 s"), (59.4, "59 s"), (300, "5 min"), (7_500, "2 h 5 min")])
def test_a_span_is_told_for_a_person(seconds: float, words: str) -> None:
    assert span(seconds) == words


def test_the_page_needs_nothing_from_elsewhere_and_keys_are_text() -> None:
    page = render(report(result("b", passed=False), result("symbol", passed=True, symbol="AAPL")))
    assert "http" not in page
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)" in page
    assert "1 critical" in page


def test_no_more_reports_are_kept_than_asked_for(tmp_path: Path) -> None:
    docs = Docs(tmp_path, runs_kept=3)
    for number in range(5):
        name = f"run-{number}"
        docs.prune()
        for part in ("validations", "data_docs/validations"):
            (tmp_path / part / "candles" / "rows" / name).mkdir(parents=True)
        page = docs.publish(report(run_id=name))
        os.utime(page, (number, number))
    assert sorted(page.stem for page in (tmp_path / "runs").iterdir()) == ["run-2", "run-3", "run-4"]
    for part in ("validations", "data_docs/validations"):
        kept = sorted(folder.name for folder in (tmp_path / part / "candles" / "rows").iterdir())
        assert kept == ["run-2", "run-3", "run-4"]


def test_a_run_is_named_as_a_file_can_be() -> None:
    assert slug("scheduled__2025-11-28T14:00:00+00:00") == "scheduled-2025-11-28T14-00-00-00-00"
    assert slug("../../etc/passwd") == "etc-passwd"
