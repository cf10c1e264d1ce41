"""The commands on a running stack, as a person types them."""

from __future__ import annotations

import json
import os
import socket
import stat
from pathlib import Path
from typing import Any

import httpx2
import psutil
import psycopg
import pytest

from include.settings import PROJECT_ROOT
from include.stack.layout import Layout
from include.stack.processes import of_stack
from tests.conftest import RunningStack, pipeline
from tests.ports import free_port_offset
from tests.waiting import wait_until

PROMISED = {
    "DATABASE_URL",
    "REDIS_URL",
    "KAFKA_BOOTSTRAP_SERVERS",
    "AIRFLOW_URL",
    "AIRFLOW_USERNAME",
    "AIRFLOW_PASSWORD",
    "DASHBOARD_URL",
    "SPARK_UI_URL",
}


def rows(stack: RunningStack) -> dict[str, dict[str, Any]]:
    answer = stack.run("status", "--json")
    return {row["service"]: row for row in json.loads(answer.stdout)}


def test_env_names_everything_that_is_promised(stack: RunningStack) -> None:
    assert stack.env.keys() >= PROMISED
    assert stack.env["MARKET"] == "sandbox"


def test_every_service_is_healthy_and_status_says_so(stack: RunningStack) -> None:
    def all_healthy() -> dict[str, dict[str, Any]] | None:
        found = rows(stack)
        return found if all(row["healthy"] for row in found.values()) else None

    found = wait_until(all_healthy, seconds=60, what="all services healthy")
    assert {"postgres", "redis", "kafka", "sandbox", "dashboard", "stream"} <= found.keys()
    table = stack.run("status")
    assert table.returncode == 0
    assert "10 of 10 healthy" in table.stdout


def test_a_second_up_changes_nothing(stack: RunningStack) -> None:
    before = {name: row["pid"] for name, row in rows(stack).items()}
    again = stack.run("up", "--wait")
    assert again.returncode == 0
    assert "everything runs already" in again.stderr
    assert {name: row["pid"] for name, row in rows(stack).items()} == before


def test_all_dags_are_there_unpaused_and_run(api: httpx2.Client) -> None:
    dags = {dag["dag_id"]: dag for dag in api.get("/dags").json()["dags"]}
    assert dags.keys() == {path.stem for path in (PROJECT_ROOT / "dags").glob("*.py")}
    assert not any(dag["is_paused"] for dag in dags.values())
    assert api.get("/importErrors").json()["total_entries"] == 0
    for dag_id in ("ingest_stocks", "ingest_crypto", "market_stream"):
        runs = wait_until(
            lambda dag_id=dag_id: api.get(f"/dags/{dag_id}/dagRuns?state=success").json()["dag_runs"],
            seconds=120,
            what=f"a successful run of {dag_id}",
        )
        assert runs[0]["dag_id"] == dag_id


def test_the_driver_is_nobodys_child_and_stays_single(stack: RunningStack, api: httpx2.Client) -> None:
    layout = Layout(stack.home, "sandbox")
    drivers = [p for p in of_stack(layout) if p.cmdline()[1:2] and p.cmdline()[1].endswith("stream.py")]
    assert len(drivers) == 1
    ancestors = " ".join(" ".join(parent.cmdline()) for parent in drivers[0].parents())
    assert "airflow" not in ancestors.replace(str(PROJECT_ROOT), "")
    wait_until(
        lambda: len(api.get("/dags/market_stream/dagRuns?state=success").json()["dag_runs"]) > 1,
        seconds=150,
        what="a second run of market_stream",
    )
    assert starts(stack) == 1
    assert drivers[0].is_running()


def starts(stack: RunningStack) -> int:
    with psycopg.connect(stack.env["DATABASE_URL"]) as connection:
        row = connection.execute("SELECT count(*) FROM stream_starts").fetchone()
    assert row is not None
    return int(row[0])


def test_run_once_publishes_and_counts_per_source(stack: RunningStack) -> None:
    for asset, source in (("stocks", "yahoo"), ("crypto", "binance")):
        answer = stack.run("run-once", asset)
        assert answer.returncode == 0, answer.stderr
        assert source in answer.stdout


def test_the_tools_come_connected(stack: RunningStack) -> None:
    psql = stack.run("psql", "-Atc", "SELECT current_user, count(*) > 0 FROM candles")
    assert psql.stdout.strip() == "dataeng|t"
    symbol = stack.env["CRYPTO_SYMBOLS"].split(",")[0]
    redis = stack.run("redis-cli", "GET", f"price:{symbol}")
    assert set(json.loads(redis.stdout)) >= {"price", "event_time", "source", "currency", "change_pct"}
    assert "ingest_stocks" in stack.run("airflow", "dags", "list").stdout


def test_logs_show_a_service_and_refuse_an_unknown_one(stack: RunningStack) -> None:
    assert "ready to accept connections" in stack.run("logs", "postgres").stdout
    unknown = stack.run("logs", "nosuch")
    assert unknown.returncode == 1
    assert "there is no log of nosuch" in unknown.stderr
    assert len(unknown.stderr.splitlines()) == 1


def test_restart_brings_one_service_back(stack: RunningStack) -> None:
    before = rows(stack)["dashboard"]["pid"]
    assert stack.run("restart", "dashboard").returncode == 0
    after = rows(stack)["dashboard"]
    assert after["healthy"]
    assert after["pid"] != before


def test_doctor_finds_nothing_and_only_loopback_is_listened_on(stack: RunningStack) -> None:
    health = stack.run("doctor")
    assert health.returncode == 0, health.stdout
    security = stack.run("doctor", "--security")
    assert security.returncode == 0, security.stdout
    for process in of_stack(Layout(stack.home, "sandbox")):
        for connection in process.net_connections("inet"):
            if connection.status == psutil.CONN_LISTEN:
                assert connection.laddr.ip in ("127.0.0.1", "::1", "::ffff:127.0.0.1"), process.cmdline()


def test_secrets_are_private_and_in_no_log(stack: RunningStack) -> None:
    state = stack.home / "sandbox"
    secrets = json.loads((state / "secrets.json").read_text())
    for file in (state / "secrets.json", state / "stack.env", state / "airflow" / "airflow.cfg"):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file
    for log in (state / "logs").rglob("*.log"):
        text = log.read_text(errors="replace")
        for name, value in secrets.items():
            assert value not in text, f"{name} is in {log}"


def test_another_market_is_refused_while_one_runs(stack: RunningStack) -> None:
    refused = pipeline(stack.variables | {"MARKET": "live"}, "up")
    assert refused.returncode == 1
    assert "a stack with MARKET=sandbox runs here" in refused.stderr


def test_a_taken_port_is_one_clear_line(tmp_path: Path) -> None:
    offset = free_port_offset()
    with socket.socket() as squatter:
        squatter.bind(("127.0.0.1", 25432 + offset))
        squatter.listen()
        variables = {"PIPELINE_HOME": str(tmp_path), "PIPELINE_PORT_OFFSET": str(offset), "MARKET": "sandbox"}
        refused = pipeline(variables, "up")
    assert refused.returncode == 1
    last = refused.stderr.strip().splitlines()[-1]
    assert f"port {25432 + offset} for postgres is taken" in last
    assert f"(pid {os.getpid()})" in last
    assert "PIPELINE_PORT_OFFSET" in last


@pytest.mark.parametrize(
    ("name", "value"),
    [("INGESTION_INTERVAL_SECONDS", "abc"), ("STOCK_SYMBOLS", "NOSUCH"), ("PIPELINE_PORT_OFFSET", "-1")],
)
def test_a_bad_setting_is_refused_by_name(tmp_path: Path, name: str, value: str) -> None:
    refused = pipeline({"PIPELINE_HOME": str(tmp_path), "MARKET": "sandbox", name: value}, "up")
    assert refused.returncode == 1
    assert refused.stderr.startswith(f"pipeline: {name}")
    assert len(refused.stderr.strip().splitlines()) == 1
