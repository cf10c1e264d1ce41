"""A strong anomaly reaches people by the DAG that a user's stack runs, once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import psycopg
import pytest

from include.storage.database import libpq_url
from tests.waiting import wait_until

SYMBOL = "ALERT-TEST"


@pytest.fixture
def owner(stack: Any) -> Any:
    with psycopg.connect(libpq_url(stack.env["DATABASE_URL"]), autocommit=True) as connection:
        yield connection
        connection.execute("DELETE FROM price_anomalies WHERE symbol = %s", (SYMBOL,))
        connection.execute("DELETE FROM alerts WHERE symbol = %s", (SYMBOL,))


def test_an_anomaly_is_told_once_and_resolved_when_it_is_withdrawn(owner: Any, api: httpx2.Client) -> None:
    def look() -> None:
        """Now, and not with the next minute's run."""
        api.post("/dags/notify_anomalies/dagRuns", json={"logical_date": None}).raise_for_status()

    window = datetime.now(UTC).replace(second=0, microsecond=0) - timedelta(minutes=5)
    owner.execute(
        "INSERT INTO price_anomalies (symbol, interval, window_start, metric, value, mean, stddev, z_score, severity)"
        " VALUES (%s, '1m', %s, 'price', 0.07, 0, 0.01, 7, 'critical')",
        (SYMBOL, window),
    )

    def alert() -> Any:
        return owner.execute(
            "SELECT subject, times_seen, delivered_at, resolved_at FROM alerts WHERE symbol = %s", (SYMBOL,)
        ).fetchone()

    def is_told() -> bool:
        return bool((found := alert()) and found[2])

    look()
    wait_until(is_told, seconds=240, what="the anomaly is told")
    subject, seen, told_at, _ = alert()
    assert subject == f"anomaly:{SYMBOL}:1m:{window:%Y-%m-%dT%H:%M:%SZ}:price"
    owner.execute("DELETE FROM price_anomalies WHERE symbol = %s", (SYMBOL,))
    look()
    wait_until(lambda: alert()[3], seconds=240, what="the alert is resolved")
    assert alert()[1:3] == (seen, told_at), "the runs between told it again"
