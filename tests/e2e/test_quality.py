"""The checks as the data engineer meets them: a run by hand, what its page says, an alert that comes and goes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx2
import psycopg
import pytest
from psycopg.rows import dict_row

from tests.conftest import RunningStack
from tests.waiting import wait_until

DAG = "/dags/check_data_quality"
#: A run waits for the scheduled one before it; both import Great Expectations on two busy cores.
RUN_SECONDS = 240


@pytest.fixture(scope="module")
def pages(stack: RunningStack, token: str) -> Iterator[httpx2.Client]:
    """As the browser of somebody who has logged in."""
    url = f"{stack.env['AIRFLOW_URL']}/data-docs"
    with httpx2.Client(base_url=url, cookies={"_token": token}, timeout=30, follow_redirects=True) as client:
        yield client


def rows(stack: RunningStack, query: str, *bound: object) -> list[dict[str, Any]]:
    with psycopg.connect(stack.env["DATABASE_URL"], row_factory=dict_row) as connection:
        return connection.execute(query, bound).fetchall()


def execute(stack: RunningStack, statement: str, *bound: object) -> int:
    with psycopg.connect(stack.env["DATABASE_URL"]) as connection:
        return connection.execute(statement, bound).rowcount


def run(api: httpx2.Client, **conf: object) -> dict[str, Any]:
    """Trigger, and wait for its end."""
    made = api.post(f"{DAG}/dagRuns", json={"logical_date": None, "conf": conf}).raise_for_status().json()

    def ended() -> dict[str, Any] | None:
        seen = api.get(f"{DAG}/dagRuns/{made['dag_run_id']}").raise_for_status().json()
        return seen if seen["state"] in ("success", "failed") else None

    return wait_until(ended, seconds=RUN_SECONDS, what="the end of the run")


def log_of(api: httpx2.Client, run_id: str, task: str) -> str:
    return api.get(f"{DAG}/dagRuns/{run_id}/taskInstances/{task}/logs/1").raise_for_status().text


def test_a_healthy_stack_passes_every_check(stack: RunningStack, api: httpx2.Client) -> None:
    ended = run(api)
    found = rows(
        stack,
        "SELECT r.* FROM data_quality_results r JOIN quality_runs q USING (run_id) WHERE q.dag_run_id = %s",
        ended["dag_run_id"],
    )
    failed = [(each["check_name"], each["symbol"], each["observed"]) for each in found if not each["passed"]]
    assert ended["state"] == "success", failed
    assert [each for each in failed if each[0] != "symbol_completeness"] == []
    measured = {each["symbol"] for each in found if each["check_name"] == "symbol_freshness" and each["symbol"]}
    assert {"AAPL", "BTC-USD"} <= measured


def test_a_planted_fault_fails_the_run_in_words_and_raises_an_alert_until_it_is_mended(
    stack: RunningStack, api: httpx2.Client, pages: httpx2.Client
) -> None:
    [candle] = rows(
        stack,
        "SELECT symbol, interval, window_start, high FROM candles WHERE interval = '1m' AND is_final "
        "ORDER BY window_start DESC, symbol LIMIT 1 OFFSET 20",
    )
    key = (candle["symbol"], candle["interval"], candle["window_start"])
    where = "WHERE (symbol, interval, window_start) = (%s, %s, %s)"
    assert execute(stack, f"UPDATE candles SET high = high + 0.00000001 {where}", *key) == 1
    ended = run(api, suites=["candles"])
    assert ended["state"] == "failed"
    said = log_of(api, ended["dag_run_id"], "judge_quality")
    assert "1 critical checks failed. candles_equal_events: 1 rows fail" in said
    [result] = rows(
        stack,
        "SELECT r.* FROM data_quality_results r JOIN quality_runs q USING (run_id) "
        "WHERE q.dag_run_id = %s AND NOT r.passed",
        ended["dag_run_id"],
    )
    assert result["failing_keys"][0]["symbol"] == candle["symbol"]
    assert result["failing_keys"][0]["differs"] == "high"
    page = pages.get(f"/run/check_data_quality/{ended['dag_run_id']}")
    assert "candles_equal_events" in page.text
    assert "to the last digit" in page.text
    assert str(candle["high"].normalize()) not in page.text, "keys, and no figures"
    alerts = "SELECT severity, resolved_at, body FROM alerts WHERE kind = 'quality' AND subject LIKE '%%events%%'"
    assert [alert["resolved_at"] for alert in rows(stack, alerts)] == [None]

    execute(stack, f"UPDATE candles SET high = high - 0.00000001 {where}", *key)
    assert run(api, suites=["candles"])["state"] == "success"
    assert all(alert["resolved_at"] for alert in rows(stack, alerts))


def test_data_docs_are_for_those_who_are_logged_in(stack: RunningStack, pages: httpx2.Client) -> None:
    stranger = httpx2.get(f"{stack.env['AIRFLOW_URL']}/data-docs/data_docs/index.html")
    assert stranger.status_code == 401
    index = pages.get("/")
    assert index.status_code == 200
    assert "candles.rows" in index.text
    assert "default-src 'none'" in index.headers["content-security-policy"]
    assert "http://" not in index.text.replace(str(pages.base_url), "")
    assert pages.get("/data_docs/..%2f..%2fsettings.json").status_code == 404
    assert "No report" in pages.get("/run/ingest_stocks/manual__1").text
