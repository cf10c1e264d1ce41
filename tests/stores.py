"""Real stores without Airflow: PostgreSQL, Redis, Kafka and the sandbox, with schema, roles and topics."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from include.settings import Settings, required
from include.stack.control import Stack
from include.stack.jars import install_jars
from include.stack.plan import Plan, make_plan
from tests.ports import free_port_offset


@dataclass(frozen=True, slots=True)
class Services:
    """`settings` are those of the running stores; URLs as components get them."""

    plan: Plan
    settings: Settings
    database_url: str
    writer_database_url: str
    reader_database_url: str
    checker_database_url: str
    redis_url: str
    kafka_bootstrap_servers: str
    #: The environment of a subprocess that belongs to these services.
    environment: dict[str, str]


@pytest.fixture(scope="session")
def services() -> Iterator[Services]:
    home = Path(tempfile.mkdtemp(prefix="stores-"))
    given = {"PIPELINE_HOME": str(home), "PIPELINE_PORT_OFFSET": str(free_port_offset()), "MARKET": "sandbox"}
    before = dict(os.environ)
    os.environ.update(given)
    try:
        plan = make_plan()
        install_jars()
        stack = Stack(plan, lambda line: None)
        stack.up_stores()
        chosen = plan.settings
        yield Services(
            plan=plan,
            settings=chosen,
            database_url=required(chosen.database_url, "DATABASE_URL"),
            writer_database_url=required(chosen.writer_database_url, "WRITER_DATABASE_URL"),
            reader_database_url=required(chosen.reader_database_url, "READER_DATABASE_URL"),
            checker_database_url=required(chosen.checker_database_url, "CHECKER_DATABASE_URL"),
            redis_url=required(chosen.redis_url, "REDIS_URL"),
            kafka_bootstrap_servers=required(chosen.kafka_bootstrap_servers, "KAFKA_BOOTSTRAP_SERVERS"),
            environment=os.environ | plan.process_environment(),
        )
        stack.down()
    finally:
        os.environ.clear()
        os.environ.update(before)
        shutil.rmtree(home, ignore_errors=True)
