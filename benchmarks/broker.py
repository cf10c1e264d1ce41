"""A Kafka broker for a benchmark's time, with its own ports and data."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from include.errors import StackError
from include.settings import Ports, required
from include.stack import kafka
from include.stack.jars import install_jars
from include.stack.layout import last_log_line
from include.stack.plan import LOOPBACK, make_plan

READY_SECONDS = 60
POLL_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class Broker:
    servers: str
    java: str
    folder: Path


@contextmanager
def broker() -> Iterator[Broker]:
    """Raises StackError where it does not come up."""
    install_jars()
    home = Path(tempfile.mkdtemp(prefix="bench-"))
    before = dict(os.environ)
    os.environ.update({"PIPELINE_HOME": str(home), "PIPELINE_PORT_OFFSET": str(_free_offset()), "MARKET": "sandbox"})
    process: subprocess.Popen[bytes] | None = None
    try:
        plan = make_plan()
        kafka.prepare(plan)
        log = plan.layout.log("kafka")
        with log.open("wb") as output:
            process = subprocess.Popen(kafka.command(plan), stdout=output, stderr=subprocess.STDOUT)
        servers = required(plan.settings.kafka_bootstrap_servers, "KAFKA_BOOTSTRAP_SERVERS")
        _wait(process, servers, log)
        kafka.create_topics(servers)
        yield Broker(servers, str(plan.java_home / "bin" / "java"), home)
    finally:
        if process is not None:
            process.terminate()
            process.wait()
        os.environ.clear()
        os.environ.update(before)
        shutil.rmtree(home, ignore_errors=True)


def _wait(process: subprocess.Popen[bytes], servers: str, log: Path) -> None:
    admin = AdminClient({"bootstrap.servers": servers, "log_level": 0})
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if admin.list_topics(timeout=2).brokers:
                return
        except KafkaException:
            time.sleep(POLL_SECONDS)
    raise StackError(f"the benchmark's broker did not come up; its log ends: {last_log_line(log)}")


def _free_offset() -> int:
    """An offset at which the broker's two ports are free."""
    for offset in range(4_000, 6_000, 50):
        ports = Ports(offset)
        if all(_is_free(port) for port in (ports.kafka, ports.kafka_controller)):
            return offset
    raise StackError("there are no free ports for the benchmark's broker")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((LOOPBACK, port)) != 0
