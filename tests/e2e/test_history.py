"""A backfill as the analyst runs it: a form, tasks by name, counts in the table and on the asset."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import psycopg
from psycopg.rows import dict_row

from tests.conftest import RunningStack
from tests.waiting import wait_until

DAG = "/dags/backfill_bars"
RUN_SECONDS = 240
COUNTS = (
    "SELECT symbol, bars_fetched, bars_new, bars_changed, bars_unchanged, missing_before, missing_after "
    "FROM backfill_results WHERE run_id = %s ORDER BY symbol"
)


def run(api: httpx2.Client, **conf: object) -> str:
    """Trigger, and wait for a good end; the run's id."""
    made = api.post(f"{DAG}/dagRuns", json={"logical_date": None, "conf": conf}).raise_for_status().json()

    def ended() -> str | None:
        state = api.get(f"{DAG}/dagRuns/{made['dag_run_id']}").raise_for_status().json()["state"]
        return state if state in ("success", "failed") else None

    assert wait_until(ended, seconds=RUN_SECONDS, what="the end of the run") == "success"
    return str(made["dag_run_id"])


def rows(stack: RunningStack, query: str, *bound: object) -> list[dict[str, Any]]:
    with psycopg.connect(stack.env["DATABASE_URL"], row_factory=dict_row) as connection:
        return connection.execute(query, bound).fetchall()


def test_a_past_day_is_filled(stack: RunningStack, api: httpx2.Client) -> None:
    day = (datetime.now(UTC) - timedelta(days=2)).date()
    form = {"symbols": ["AAPL", "BTC-USD"], "start": f"{day}", "end": f"{day}"}
    first = run(api, **form)
    tasks = api.get(f"{DAG}/dagRuns/{first}/taskInstances").raise_for_status().json()["task_instances"]
    assert {task["rendered_map_index"] for task in tasks if task["map_index"] >= 0} == {f"AAPL {day}", f"BTC-USD {day}"}
    found = rows(stack, COUNTS, first)
    assert [each["symbol"] for each in found] == ["AAPL", "BTC-USD"]
    for each in found:
        assert each["bars_fetched"] == each["bars_new"] == each["missing_before"] - each["missing_after"] > 1_000
    held = rows(
        stack,
        "SELECT symbol, count(*) AS candles FROM candles JOIN indicators USING (symbol, interval, window_start) "
        "WHERE interval = '5m' AND symbol = ANY (%s) AND window_start >= %s AND window_start < %s GROUP BY symbol",
        form["symbols"],
        datetime(day.year, day.month, day.day, tzinfo=UTC),
        datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(days=1),
    )
    assert {each["symbol"]: each["candles"] for each in held} == {"AAPL": 288, "BTC-USD": 288}
    events = api.get("/assets/events", params={"source_dag_id": "backfill_bars", "source_run_id": first})
    [event] = events.raise_for_status().json()["asset_events"]
    assert event["extra"]["symbols"]["AAPL"]["new"] == found[0]["bars_new"]
