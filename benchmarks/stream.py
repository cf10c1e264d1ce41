"""How fast the real driver drains a prefilled topic into PostgreSQL and Redis: part (a) of the stream's benchmark.

    .venv/bin/python -m benchmarks.stream [--events 500000] [--symbols 100] [--per-second 10000]

Starts its own Kafka, PostgreSQL and Redis, fills the topic with trades (unlike ids, ties and disorder within 2 s,
`--per-second` of event time), starts the driver by spark-submit and reads the ledger until all is committed. Time and
CPU count from the first commit to the last, so the JVM's start is left out and its warming up is not; at the end the
candles are counted and their trades summed. Prints one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import psycopg
from confluent_kafka import Producer

from include.settings import PROJECT_ROOT, required
from include.stack.control import Stack
from include.stack.jars import install_jars
from include.stack.layout import JARS
from include.stack.plan import Plan, make_plan

TOPIC, QUERY = "market.stock.events.v1", "events_stock"
TIMEOUT_SECONDS = 1_800
SIDES = {"driver": ("java", "python3", "python3.11"), "postgres": ("postgres",), "redis": ("redis-server",)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=500_000)
    parser.add_argument("--symbols", type=int, default=100)
    parser.add_argument("--per-second", type=int, default=10_000)
    parser.add_argument("--port-offset", type=int, default=7_000)
    wanted = parser.parse_args()
    with stores(wanted.port_offset) as plan:
        fill(plan, wanted.events, wanted.symbols, wanted.per_second)
        print(json.dumps(drained(plan, wanted.events)))


@contextmanager
def stores(port_offset: int) -> Iterator[Plan]:
    """Kafka, PostgreSQL and Redis with schema and topics, in a folder of their own."""
    home = Path(tempfile.mkdtemp(prefix="bench-"))
    os.environ.update(PIPELINE_HOME=str(home), PIPELINE_PORT_OFFSET=str(port_offset), MARKET="sandbox")
    plan = make_plan()
    install_jars()
    stack = Stack(plan, lambda line: None)
    try:
        stack.up_stores()
        yield plan
    finally:
        stack.down()
        shutil.rmtree(home, ignore_errors=True)


def fill(plan: Plan, count: int, symbols: int, per_second: int) -> None:
    """Trades up to now, as our producers encode them."""
    dice = random.Random(7)
    producer = Producer(
        {
            "bootstrap.servers": plan.settings.kafka_bootstrap_servers,
            "linger.ms": 20,
            "compression.type": "lz4",
            "queue.buffering.max.messages": 1_000_000,
        }
    )
    start = time.time_ns() // 1_000 - int(count / per_second * 1e6) - 10_000_000
    text = (
        '{"event_id":"binance:%s:trade:%d","symbol":"%s","asset_class":"stock","source":"binance","kind":"trade",'
        '"event_time":%d,"interval_seconds":0,"open":"%s","high":"%s","low":"%s","close":"%s","volume":"%s",'
        '"currency":"USD","ingested_at":%d,"schema_version":1}'
    )
    names = [f"SYM{number:05d}" for number in range(symbols)]
    for number in range(count):
        symbol = names[dice.randrange(symbols)]
        at = start + number * 1_000_000 // per_second - dice.randrange(2_000) * 1_000
        price, volume = f"{dice.randrange(9_000, 11_000) / 100:.2f}", f"{dice.randrange(1, 99_999) / 1_000:.3f}"
        value = text % (symbol, 4_000_000_000 + number, symbol, at, price, price, price, price, volume, at)
        producer.produce(TOPIC, value, key=symbol)
        if number % 1_000 == 0:
            producer.poll(0)
    if producer.flush(120):
        raise RuntimeError("the broker did not take all events")


def drained(plan: Plan, count: int) -> dict[str, Any]:
    """The figures of one drain by the driver."""
    url = required(plan.settings.database_url, "DATABASE_URL")
    process = _submitted(plan)
    try:
        with psycopg.connect(url, autocommit=True) as connection:
            done, first_rows, began, cpu_before = 0, 0, 0.0, {}
            deadline = time.monotonic() + TIMEOUT_SECONDS
            while done < count:
                if process.poll() is not None or time.monotonic() > deadline:
                    words = (plan.layout.logs / "bench-driver.log").read_text(errors="replace")[-3_000:]
                    raise RuntimeError(f"the driver did not finish: {words}")
                time.sleep(0.05)
                done = _one(
                    connection, "SELECT coalesce(sum(rows_in), 0) FROM stream_batches WHERE query_name = %s", QUERY
                )
                if done and not first_rows:
                    first_rows, began, cpu_before = int(done), time.monotonic(), cpu_of(plan)
            seconds = time.monotonic() - began
            cpu = {side: spent - cpu_before[side] for side, spent in cpu_of(plan).items()}
            batches = _one(
                connection, "SELECT count(*) FROM stream_batches WHERE query_name = %s AND rows_in > 0", QUERY
            )
            stored = _one(connection, "SELECT count(*) FROM market_events")
            in_candles = _one(connection, "SELECT sum(event_count) FROM candles WHERE interval = '1m'")
            candles = _one(connection, "SELECT count(*) FROM candles")
    finally:
        process.terminate()
        process.wait(60)
    events = count - first_rows
    return {
        "events": events,
        "batches": batches,
        "seconds": round(seconds, 2),
        "events_per_second": round(events / seconds),
        "events_per_cpu_second": round(events / sum(cpu.values())),
        "cpu_seconds": {side: round(spent, 2) for side, spent in cpu.items()},
        "stored": stored,
        "in_candles": in_candles,
        "candles": candles,
        "load_at_end": [round(load, 1) for load in os.getloadavg()],
    }


def cpu_of(plan: Plan) -> dict[str, float]:
    """CPU seconds of our processes so far, by side; the broker is not among them."""
    spent = dict.fromkeys(SIDES, 0.0)
    for process in psutil.process_iter(["name", "environ", "cmdline"]):
        if (process.info["environ"] or {}).get("PIPELINE_HOME") != str(plan.layout.home):
            continue
        command = " ".join(process.info["cmdline"] or [])
        for side, names in SIDES.items():
            is_driver = "spark_jobs/stream.py" in command
            if process.info["name"] in names and (is_driver if side == "driver" else True):
                times = process.cpu_times()
                spent[side] += times.user + times.system + times.children_user + times.children_system
    return spent


def _submitted(plan: Plan) -> subprocess.Popen[bytes]:
    jars = ",".join(str(jar) for jar in sorted((JARS / "spark").glob("*.jar")))
    options = {
        "spark.jars": jars,
        "spark.driver.host": "127.0.0.1",
        "spark.driver.memory": "1g",
        "spark.ui.port": str(plan.settings.ports.spark_ui),
        "spark.log.level": "WARN",
        "spark.driver.extraJavaOptions": "-Xss4m",
    }
    flags = [part for name, value in options.items() for part in ("--conf", f"{name}={value}")]
    plan.layout.logs.mkdir(parents=True, exist_ok=True)
    with (plan.layout.logs / "bench-driver.log").open("ab") as log:
        return subprocess.Popen(
            ["spark-submit", "--master", "local[2]", *flags, str(PROJECT_ROOT / "spark_jobs" / "stream.py")],
            env=os.environ | plan.process_environment(),
            cwd=PROJECT_ROOT,
            stdout=log,
            stderr=subprocess.STDOUT,
        )


def _one(connection: psycopg.Connection[Any], sql: str, *values: object) -> int:
    row = connection.execute(sql, values).fetchone()
    return int(row[0] or 0) if row else 0


if __name__ == "__main__":
    main()
