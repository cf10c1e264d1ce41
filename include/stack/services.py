"""The services of a stack, one entry each: how it starts, where it listens, how one knows it is well."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass

import httpx2
import psycopg
import redis as redis_client
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from include.settings import required
from include.stack import airflow, kafka, postgres, redis
from include.stack.local_http import PROBE_SECONDS, local_http
from include.stack.plan import LOOPBACK, Plan
from include.stack.supervisor import Program

#: What a probe may raise when its service is not well; each is turned into the status's words.
PROBE_ERRORS = (
    OSError,
    httpx2.HTTPError,
    psycopg.Error,
    redis_client.RedisError,
    KafkaException,
    KeyError,
    ValueError,
)

Probe = Callable[[Plan], None]


@dataclass(frozen=True, slots=True)
class Service:
    """`probe` raises one of PROBE_ERRORS while the service is not well."""

    program: Program
    port: int | None
    probe: Probe
    prepare: Callable[[Plan], None] | None = None
    #: May this service need more than the usual time to come up?
    ready_seconds: int = 60
    #: Starts only when the stores are up and their schema is current.
    needs_schema: bool = False

    @property
    def name(self) -> str:
        return self.program.name

    @property
    def poll_seconds(self) -> float:
        """How often to look while it comes up: what takes long is not helped by being asked often."""
        return self.ready_seconds / 150


def services(plan: Plan) -> list[Service]:
    """In the order of starting; the reverse is the order of stopping."""
    return [*_stores(plan), *_airflow(plan), _dashboard(plan)]


def _stores(plan: Plan) -> list[Service]:
    ports = plan.settings.ports
    found = [
        # SIGINT is PostgreSQL's fast shutdown: sessions end, nothing is lost.
        Service(
            Program("postgres", postgres.command(plan), stop_signal="INT"),
            ports.postgres,
            _probe_postgres,
            postgres.prepare,
        )
    ]
    if "redis" in plan.own:
        found.append(Service(Program("redis", redis.command(plan)), ports.redis, _probe_redis, redis.prepare))
    if "kafka" in plan.own:
        found.append(Service(Program("kafka", kafka.command(plan)), ports.kafka, _probe_kafka, kafka.prepare))
    if plan.market != "live":
        program = Program("sandbox", [sys.executable, "-m", "include.sandbox"])
        found.append(Service(program, ports.sandbox, _http("sandbox", "/sandbox/health")))
    return found


def _airflow(plan: Plan) -> list[Service]:
    command = [sys.executable, "-m", "airflow"]
    parts = {
        "api-server": ([], None),
        # Task logs are read from disk: the log servers would listen on every interface.
        "scheduler": (["--skip-serve-logs"], "scheduler"),
        "dag-processor": ([], "dag_processor"),
        "triggerer": (["--skip-serve-logs"], "triggerer"),
    }
    return [
        Service(
            Program(f"airflow-{part}", [*command, part, *options]),
            plan.settings.ports.airflow if part == "api-server" else None,
            _airflow_part(component),
            airflow.prepare if part == "api-server" else None,
            ready_seconds=150,
            needs_schema=True,
        )
        for part, (options, component) in parts.items()
    ]


def _dashboard(plan: Plan) -> Service:
    program = Program("dashboard", [sys.executable, "-m", "include.web"])
    return Service(program, plan.settings.ports.dashboard, _http("dashboard", "/api/v1/health"), needs_schema=True)


def _probe_postgres(plan: Plan) -> None:
    with psycopg.connect(postgres.admin_url(plan), connect_timeout=PROBE_SECONDS) as connection:
        connection.execute("SELECT 1")


def _probe_redis(plan: Plan) -> None:
    url = required(plan.settings.redis_url, "REDIS_URL")
    with redis_client.Redis.from_url(url, socket_timeout=PROBE_SECONDS) as client:
        client.ping()


def _probe_kafka(plan: Plan) -> None:
    servers = required(plan.settings.kafka_bootstrap_servers, "KAFKA_BOOTSTRAP_SERVERS")
    admin = AdminClient({"bootstrap.servers": servers, "log_level": 0, "socket.timeout.ms": 3000})
    if not admin.list_topics(timeout=PROBE_SECONDS).brokers:
        raise ValueError("no broker answers")


def _http(port_name: str, path: str) -> Probe:
    def probe(plan: Plan) -> None:
        port = getattr(plan.settings.ports, port_name)
        answer = local_http().get(f"http://{LOOPBACK}:{port}{path}")
        if answer.status_code != httpx2.codes.OK:
            raise ValueError(f"{path} answers {answer.status_code}: {answer.text[:160]}")

    return probe


def _airflow_part(component: str | None) -> Probe:
    def probe(plan: Plan) -> None:
        state = airflow.component_health(plan)[component or "metadatabase"]
        if state != "healthy":
            raise ValueError(f"Airflow says {component} is {state}")

    return probe
