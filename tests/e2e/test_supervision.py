"""The driver is brought back, stopped and left alone as the documentation says, on a whole stack."""

from __future__ import annotations

import json
import os
import signal
import time
from typing import Any

import httpx2
import psutil
import psycopg
import pytest
from confluent_kafka import Consumer, TopicPartition
from psycopg.rows import dict_row

from include.market.topics import EVENTS
from include.stack.layout import Layout
from include.stack.supervisor import Supervisor
from tests.conftest import RunningStack
from tests.waiting import wait_until

#: From the kill to the first batch that the new driver has committed.
BACK_SECONDS = 60
AIRFLOW = ("airflow-scheduler", "airflow-triggerer", "airflow-api-server")


def one(stack: RunningStack, query: str, *bound: object) -> dict[str, Any]:
    with psycopg.connect(stack.env["DATABASE_URL"], row_factory=dict_row) as connection:
        row = connection.execute(query, bound).fetchone()
    assert row is not None
    return row


def lease(stack: RunningStack) -> dict[str, Any]:
    return one(stack, "SELECT * FROM stream_lease WHERE application = 'market_stream'")


def is_driver_up(stack: RunningStack) -> bool:
    held = lease(stack)
    return held["pid"] is not None and bool(held["details"]) and psutil.pid_exists(held["pid"])


def publish(stack: RunningStack) -> None:
    assert stack.run("run-once", "crypto").returncode == 0


def batches_of(stack: RunningStack, epoch: int) -> int:
    return one(stack, "SELECT count(*) AS n FROM stream_batches WHERE epoch = %s", epoch)["n"]


def wait_for_a_batch_after(stack: RunningStack, epoch: int, seconds: float) -> float:
    """Seconds until a driver of a later epoch has committed."""
    began = time.monotonic()
    wait_until(
        lambda: one(stack, "SELECT max(epoch) AS newest FROM stream_batches")["newest"] > epoch,
        seconds=seconds,
        what="a batch of the next driver",
    )
    return time.monotonic() - began


def kafka_ends(stack: RunningStack) -> dict[str, int]:
    """`topic/partition` to the offset behind the last record."""
    consumer = Consumer({"bootstrap.servers": stack.env["KAFKA_BOOTSTRAP_SERVERS"], "group.id": "looking"})
    ends = {}
    for topic in EVENTS.values():
        for number in consumer.list_topics(topic, 10).topics[topic].partitions:
            ends[f"{topic}/{number}"] = consumer.get_watermark_offsets(TopicPartition(topic, number), 10)[1]
    consumer.close()
    return {name: end for name, end in ends.items() if end > 0}


def ledger_ends(stack: RunningStack) -> dict[str, int]:
    """The same by the ledger, whose ranges must follow on each other from 0."""
    with psycopg.connect(stack.env["DATABASE_URL"]) as connection:
        rows = connection.execute("SELECT offsets FROM stream_batches ORDER BY query_name, batch_id").fetchall()
    ends: dict[str, int] = {}
    for (offsets,) in rows:
        for topic, partitions in offsets.items():
            for number, (start, until) in partitions.items():
                name = f"{topic}/{number}"
                assert start == ends.get(name, 0), f"{name}: a hole or a repeat at {start}"
                ends[name] = until
    return ends


def assert_nothing_lost_or_doubled(stack: RunningStack) -> None:
    wait_until(lambda: ledger_ends(stack) == kafka_ends(stack), seconds=60, what="every record in the ledger")
    counted = one(
        stack,
        "SELECT count(*) AS all, count(DISTINCT event_id) AS ids, "
        "count(DISTINCT (asset_class, kafka_partition, kafka_offset)) AS places FROM market_events "
        # What a backfill or a repair put in did not come by Kafka.
        "WHERE kafka_offset IS NOT NULL",
    )
    assert counted["all"] == counted["ids"] == counted["places"] > 0
    new = one(stack, "SELECT sum(rows_new) AS n FROM stream_batches")["n"]
    assert new == counted["all"]


def test_the_run_shows_the_stream_and_the_way_to_its_pages(stack: RunningStack, api: httpx2.Client) -> None:
    def told() -> dict[str, Any] | None:
        newest = api.get("/dags/market_stream/dagRuns?state=success&order_by=-run_after&limit=1").json()["dag_runs"]
        if not newest:
            return None
        path = f"/dags/market_stream/dagRuns/{newest[0]['dag_run_id']}/taskInstances/ensure_stream"
        links = api.get(f"{path}/links").raise_for_status().json()["extra_links"]
        entry = api.get(f"{path}/xcomEntries/return_value?deserialize=true").raise_for_status().json()["value"]
        value = json.loads(entry) if isinstance(entry, str) else entry
        return {"value": value, "links": links} if value["state"] == "running" and value["queries"] else None

    found = wait_until(told, seconds=120, what="a run that saw the stream running")
    assert found["links"]["Spark UI"] == stack.env["SPARK_UI_URL"]
    value = found["value"]
    assert value["epoch"] > 0
    assert value["starts_of_late"][0]["outcome"] is None
    assert set(value["queries"]) == {"events_stock", "events_crypto"}
    crypto = value["queries"]["events_crypto"]
    assert crypto.keys() >= {"batch_id", "input_rows_per_second", "rows_per_second", "watermark", "lag"}


@pytest.mark.parametrize("victim", ["JVM", pytest.param("Python", marks=pytest.mark.exhaustive)])
def test_a_killed_driver_is_back_and_commits_within_a_minute(stack: RunningStack, victim: str) -> None:
    wait_until(lambda: is_driver_up(stack), seconds=60, what="a running driver")
    held = lease(stack)
    python = psutil.Process(held["pid"])
    chosen = python if victim == "Python" else python.parent()
    assert chosen is not None
    assert ("java" in chosen.name()) == (victim == "JVM")
    chosen.kill()
    publish(stack)
    seconds = wait_for_a_batch_after(stack, held["epoch"], BACK_SECONDS)
    print(f"{victim} killed: the next driver committed after {seconds:.0f} s and the publication")
    ended = one(stack, "SELECT outcome, reason FROM stream_starts WHERE epoch = %s", held["epoch"])
    assert (ended["outcome"], ended["reason"]) == (
        ("failed", "the JVM is gone") if victim == "JVM" else ("died", f"its process {python.pid} is gone")
    )
    assert_nothing_lost_or_doubled(stack)


@pytest.mark.exhaustive  # to stop and start by marking a run is the same step of the supervision
def test_pausing_the_dag_stops_the_stream_and_unpausing_starts_it(stack: RunningStack, api: httpx2.Client) -> None:
    wait_until(lambda: is_driver_up(stack), seconds=60, what="a running driver")
    held = lease(stack)
    api.patch("/dags/market_stream", json={"is_paused": True}).raise_for_status()
    wait_until(lambda: lease(stack)["owner"] is None, seconds=100, what="the end of the driver")
    ended = one(stack, "SELECT outcome, reason FROM stream_starts WHERE epoch = %s", held["epoch"])
    assert ended == {"outcome": "stopped", "reason": "the DAG market_stream is paused"}
    assert lease(stack)["desired_state"] == "running"
    row = stream_row(stack)
    assert (row["state"], row["healthy"]) == ("stopped on request", False)
    assert "paused" in row["last_error"]
    api.patch("/dags/market_stream", json={"is_paused": False}).raise_for_status()
    publish(stack)
    wait_for_a_batch_after(stack, held["epoch"], 120)


def test_marking_a_run_as_failed_stops_the_stream_until_somebody_starts_it(
    stack: RunningStack, api: httpx2.Client
) -> None:
    wait_until(lambda: is_driver_up(stack), seconds=60, what="a running driver")
    held = lease(stack)

    def running() -> str | None:
        found = api.get("/dags/market_stream/dagRuns?state=running&limit=1").json()["dag_runs"]
        return found[0]["dag_run_id"] if found else None

    run = wait_until(running, seconds=70, what="a run that goes on")
    api.patch(f"/dags/market_stream/dagRuns/{run}", json={"state": "failed"}).raise_for_status()
    wait_until(lambda: lease(stack)["owner"] is None, seconds=45, what="the end of the driver")
    stopped = lease(stack)
    assert (stopped["desired_state"], stopped["desired_run"]) == ("stopped", run)
    row = stream_row(stack)
    assert (row["state"], row["healthy"]) == ("stopped on request", False)
    assert "marked" in row["last_error"]

    form = {"logical_date": None, "conf": {"action": "start"}}
    api.post("/dags/market_stream/dagRuns", json=form).raise_for_status()
    publish(stack)
    wait_for_a_batch_after(stack, held["epoch"], 120)
    assert lease(stack)["desired_state"] == "running"


def test_the_stream_does_not_notice_that_airflow_is_killed(stack: RunningStack) -> None:
    wait_until(lambda: is_driver_up(stack), seconds=60, what="a running driver")
    held = lease(stack)
    before = batches_of(stack, held["epoch"])
    supervisor = Supervisor(Layout(stack.home, "sandbox"))
    killed = {name: supervisor.processes()[name]["pid"] for name in AIRFLOW}
    for pid in killed.values():
        for process in (*psutil.Process(pid).children(recursive=True), psutil.Process(pid)):
            kill(process)
    publish(stack)
    wait_until(lambda: batches_of(stack, held["epoch"]) > before, seconds=30, what="another batch of this driver")

    def all_are_new() -> bool:
        facts = supervisor.processes()
        return all(facts[name]["statename"] == "RUNNING" and facts[name]["pid"] != pid for name, pid in killed.items())

    wait_until(all_are_new, seconds=60, what="Airflow started again")
    now = lease(stack)
    assert (now["pid"], now["epoch"]) == (held["pid"], held["epoch"])
    assert_nothing_lost_or_doubled(stack)
    wait_until(lambda: stack.run("status").returncode == 0, seconds=120, what="all services healthy")


def stream_row(stack: RunningStack) -> dict[str, Any]:
    rows = json.loads(stack.run("status", "--json").stdout)
    return next(row for row in rows if row["service"] == "stream")


def kill(process: psutil.Process) -> None:
    try:
        os.kill(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return  # its parent took it along
