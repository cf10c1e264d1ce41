"""Kafka, PostgreSQL and Redis of a benchmark's own, and the programs that it starts beside them."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import redis
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient, NewTopic
from psycopg.sql import SQL, Identifier

from include.errors import StackError
from include.market.topics import EVENTS
from include.settings import PROJECT_ROOT, Ports, required
from include.stack.control import Stack
from include.stack.jars import install_jars
from include.stack.layout import last_log_line
from include.stack.plan import LOOPBACK, Plan, make_plan
from include.stack.postgres import admin_url

STOCKS = EVENTS["stock"]
STORES = ("postgres", "redis", "kafka")
END_SECONDS = 30
TOPIC_SECONDS = 60
#: What a run leaves stays out of the next one; these say who may write, and go on.
_KEPT = ("platform", "stream_lease", "stream_fence", "stream_starts")
#: A user's own stores are not for measuring: emptied settings mean stores of our own.
_NO_STORES = ("KAFKA_BOOTSTRAP_SERVERS", "DATABASE_URL", "REDIS_URL", "WRITER_DATABASE_URL", "READER_DATABASE_URL")


@dataclass(frozen=True, slots=True)
class Stores:
    """Running stores. `pids` has the first process of each, whose children do its work."""

    plan: Plan
    pids: dict[str, int]

    @property
    def owner_url(self) -> str:
        return required(self.plan.settings.database_url, "DATABASE_URL")

    @property
    def writer_url(self) -> str:
        return required(self.plan.settings.writer_database_url, "WRITER_DATABASE_URL")

    @property
    def redis_url(self) -> str:
        return required(self.plan.settings.redis_url, "REDIS_URL")

    @property
    def servers(self) -> str:
        return required(self.plan.settings.kafka_bootstrap_servers, "KAFKA_BOOTSTRAP_SERVERS")

    @property
    def folder(self) -> Path:
        return self.plan.layout.home

    def connect(self) -> psycopg.Connection[Any]:
        """As the owner, each statement by itself."""
        return psycopg.connect(self.owner_url, autocommit=True)

    def empty(self) -> None:
        """No rows, no keys, no checkpoints: the next driver starts from the topic's first record."""
        with self.connect() as connection:
            rows = connection.execute(
                "SELECT relname FROM pg_class WHERE relnamespace = 'market'::regnamespace AND relkind IN ('r', 'p') "
                "AND NOT relispartition AND relname <> ALL(%s) AND relname NOT LIKE 'alembic%%'",
                (list(_KEPT),),
            ).fetchall()
            names = SQL(", ").join(Identifier("market", name) for (name,) in rows)
            connection.execute(SQL("TRUNCATE {}").format(names))
            for (partition,) in connection.execute(
                "SELECT relname FROM pg_class WHERE relnamespace = 'market'::regnamespace AND relispartition "
                "AND relkind = 'r'"
            ).fetchall():
                connection.execute(SQL("DROP TABLE {}").format(Identifier("market", partition)))
        with redis.Redis.from_url(self.redis_url) as client:
            client.flushall()
        shutil.rmtree(self.plan.layout.state / "checkpoints", ignore_errors=True)

    def new_topic(self, name: str = STOCKS, partitions: int = 2) -> None:
        """An empty topic of this name. Raises StackError where the broker does not do it."""
        admin = AdminClient({"bootstrap.servers": self.servers, "log_level": 0})
        if name in admin.list_topics(timeout=10).topics:
            admin.delete_topics([name])[name].result(TOPIC_SECONDS)
        deadline = time.monotonic() + TOPIC_SECONDS
        while True:
            try:
                admin.create_topics([NewTopic(name, partitions, 1)])[name].result(TOPIC_SECONDS)
                return
            except KafkaException as refusal:
                # A deletion is answered before it is done.
                if time.monotonic() > deadline:
                    raise StackError(f"the benchmark's topic {name} could not be made: {refusal}") from refusal
                time.sleep(0.2)

    def checkpoint(self) -> None:
        """Write out what PostgreSQL owes the disk, so that no run pays for the one before."""
        with psycopg.connect(admin_url(self.plan), autocommit=True) as admin:
            admin.execute("CHECKPOINT")


@contextmanager
def stores(say: Callable[[str], None], **settings: str) -> Iterator[Stores]:
    """Up with schema and topics, in a temporary folder and on free ports; down at the end, come what may.

    `settings`: further ones, by their names.
    """
    home = Path(tempfile.mkdtemp(prefix="bench-"))
    before = dict(os.environ)
    given = {"PIPELINE_HOME": str(home), "PIPELINE_PORT_OFFSET": str(_free_offset()), "MARKET": "sandbox"}
    os.environ.update(given | dict.fromkeys(_NO_STORES, "") | settings)
    with _interruptible():
        stack: Stack | None = None
        try:
            plan = make_plan()
            install_jars()
            stack = Stack(plan, say)
            stack.up_stores()
            # No part asks the stand-in for the sources.
            stack.supervisor.stop("sandbox")
            facts = stack.supervisor.processes()
            yield Stores(plan, {name: int(facts[name]["pid"]) for name in STORES})
        finally:
            if stack is not None:
                stack.down()
            os.environ.clear()
            os.environ.update(before)
            shutil.rmtree(home, ignore_errors=True)


@contextmanager
def program(held: Stores, command: Sequence[str], name: str, **more: str) -> Iterator[subprocess.Popen[bytes]]:
    """A program beside the stores, in a session of its own; its output goes to a log. Ended at the end."""
    held.plan.layout.logs.mkdir(parents=True, exist_ok=True)
    with held.plan.layout.log(name).open("wb") as log:
        process = subprocess.Popen(
            list(command),
            env=held.plan.process_environment() | more,
            cwd=PROJECT_ROOT,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        _end(process)


def finished(process: subprocess.Popen[bytes], held: Stores, name: str, seconds: float) -> None:
    """Wait for a program of ours. Raises StackError with the end of its log where it fails or takes too long."""
    try:
        code = process.wait(seconds)
    except subprocess.TimeoutExpired:
        raise StackError(f"{name} did not end within {seconds:.0f} s: {last_words(held, name)}") from None
    if code:
        raise StackError(f"{name} failed ({code}): {last_words(held, name)}")


def last_words(held: Stores, name: str) -> str:
    return last_log_line(held.plan.layout.log(name)) or "its log is empty"


def _end(process: subprocess.Popen[bytes]) -> None:
    """SIGTERM to its session, and SIGKILL where that does not help."""
    for number, patience in ((signal.SIGTERM, END_SECONDS), (signal.SIGKILL, END_SECONDS)):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        try:
            process.wait(patience)
        except subprocess.TimeoutExpired:
            continue
        if not _session_lives(process.pid):
            return


def _session_lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


@contextmanager
def _interruptible() -> Iterator[None]:
    """A request to end is treated as Ctrl-C, so that what was started is stopped."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _free_offset() -> int:
    """An offset at which all ports of the stores are free; not always the first, for others measure too."""
    first = 8_000 + os.getpid() % 100 * 60
    for offset in range(first, first + 3_000, 60):
        ports = Ports(offset)
        wanted = (
            ports.kafka,
            ports.kafka_controller,
            ports.postgres,
            ports.redis,
            ports.spark_ui,
            ports.sandbox,
            ports.dashboard,
        )
        if all(_is_free(port) for port in wanted):
            return offset
    raise StackError("there are no free ports for the benchmark's stores")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((LOOPBACK, port)) != 0
