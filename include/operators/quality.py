"""The tasks of check_data_quality: the form, the run, and what the run's end says."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

from airflow.sdk import Param, get_current_context

from include.market.moments import day_bounds
from include.operators.forms import collected_symbols, symbols_param
from include.settings import settings

if TYPE_CHECKING:
    from pathlib import Path

    from include.quality.run import Request
    from include.quality.validation import Validator
    from include.storage.quality_store import Before

#: As in great_expectations/checkpoints/market_data.json; a test holds them equal.
SUITES = (
    "market_events", "candles", "indicators", "price_anomalies", "symbol_freshness", "symbol_completeness",
    "stream_batches",
)  # fmt: skip
RECOMPUTE_SECONDS = 540.0


def quality_params() -> dict[str, Param]:
    """The form of a run by hand; a scheduled run leaves all of it empty."""
    return {
        "suites": Param(
            [],
            type="array",
            items={"type": "string", "enum": list(SUITES)},
            examples=list(SUITES),
            title="Suites",
            description="Only these; none: all.",
        ),
        "day": Param(
            None,
            type=["null", "string"],
            format="date",
            title="Day (UTC)",
            description="The whole of this day; none: from an hour before the end of the last run until now.",
        ),
        "symbols": symbols_param(collected_symbols()),
    }


def validate() -> dict[str, Any]:
    """Run the checks as the form says; counts, words, and what failed.

    Raises SettingsError for a name in the form that is not there, psycopg.Error.
    """
    context = get_current_context()
    from functools import partial

    from include.operations.topic_ends import topic_ends
    from include.operators.lineage import journal_quality
    from include.operators.services import connected_settings, database_url
    from include.quality.data_docs import Docs, folder_of
    from include.quality.run import await_start, run_checks
    from include.settings import required
    from include.storage.quality_store import QualityStore
    from include.storage.quarantine import hold

    chosen, url = connected_settings(), database_url("postgres_checker")
    folder = folder_of(chosen.state_dir)
    with QualityStore(url) as store:
        await_start(store)
        request = requested(context["params"], str(context["dag_run"].run_id), datetime.now(UTC), store.before)
        try:
            report = run_checks(
                request,
                store,
                partial(_validator, folder, url),
                limit_seconds=chosen.freshness_limit_seconds,
                ends=partial(topic_ends, required(chosen.kafka_bootstrap_servers, "KAFKA_BOOTSTRAP_SERVERS")),
                hold=lambda check, rows: hold(store.connection, rows, check.name, check.reason, request.run_id),
                docs=Docs(folder, chosen.data_docs_runs),
            )
        except Exception as failure:
            journal_quality(request, failure=failure)
            raise
    journal_quality(request, report.results)
    for each in report.checks:
        if not each.passed:
            print(f"{each.severity}: {each.check_name}: {each.observed}; expected: {each.expected}. {each.reason}")
    for each in report.results:
        if each.symbol is not None and not each.passed:
            print(f"{each.dimension} of {each.symbol}: {each.observed}; expected: {each.expected}")
    critical = report.failed("critical")
    details = {
        check.check_name: [
            f"{each.symbol}: {each.observed}"
            for each in report.results
            if each.check_name == check.check_name and each.symbol is not None and not each.passed
        ]
        for check in critical
    }
    return {
        **report.summary(),
        "run_id": request.run_id,
        "is_whole": request.symbols is None,
        "held": report.held,
        "critical": {check.check_name: said(check.observed, details[check.check_name]) for check in critical},
    }


def _validator(folder: Path, url: str) -> Validator:
    from include.quality.validation import Validator

    return Validator(folder, url)


def said(observed: str, symbols: Sequence[str]) -> str:
    """What failed, in one line."""
    return "; ".join(symbols[:5]) + (f" and {len(symbols) - 5} more" if len(symbols) > 5 else "") or observed


def requested(params: Mapping[str, Any], dag_run_id: str, now: datetime, before: Callable[..., Before]) -> Request:
    """The form as a request. `before(suites)` gives what the last run of these suites leaves to be looked at."""
    from include.quality.data_docs import slug
    from include.quality.run import Request, window

    suites, symbols = tuple(params["suites"] or ()), tuple(params["symbols"] or ()) or None
    if params["day"]:
        since, end = day_bounds(date.fromisoformat(params["day"]))
        until = min(now, end)
    else:
        since, until = window(before(suites or SUITES), now), now
    return Request(slug(dag_run_id), since, until, suites, symbols, dag_run_id)


def recompute_quarantined() -> dict[str, Any]:
    """Count the candles again that do not show yet what is held or released. Raises MarketDataError, psycopg.Error."""
    from include.operators.detached import run_module
    from include.operators.services import database_url
    from include.storage.quarantine import waits

    waiting = waits(database_url("postgres_default"))
    if not waiting:
        return {"waiting": 0}
    log_file = settings().state_dir / "logs" / "recompute.log"
    return {
        "waiting": waiting,
        "done": run_module("spark_jobs.recompute", ["--quarantine"], log_file, RECOMPUTE_SECONDS),
    }


def notify(found: Mapping[str, Any] | None) -> dict[str, int]:
    """Open and resolve the alerts of the checks that ran, or of a run that could not check; notify_anomalies delivers
    them. Raises psycopg.Error."""
    from urllib.parse import quote

    from include.operations.alerts import notify_quality, notify_unchecked
    from include.operators.services import database_url

    run_id = str(get_current_context()["dag_run"].run_id)
    link = f"http://127.0.0.1:{settings().ports.airflow}/dags/check_data_quality/runs/{quote(run_id)}"
    notify_unchecked(database_url("postgres_checker"), link, failed=found is None)
    if found is None:
        return {}
    return notify_quality(
        database_url("postgres_checker"), found["run_id"], found["critical"], link, resolve=found["is_whole"]
    )


def judge(found: Mapping[str, Any] | None) -> str:
    """The run's verdict. Raises AirflowFailException with what failed in words if a critical check did, or all did."""
    from airflow.sdk.exceptions import AirflowFailException

    if found is None:
        raise AirflowFailException("nothing was checked: the log of validate_data says why")
    if found["failed_critical"]:
        words = "; ".join(f"{name}: {words}" for name, words in found["critical"].items())
        raise AirflowFailException(f"{found['failed_critical']} critical checks failed. {words}")
    return str(found["summary"])
