"""Airflow's configuration, metadata database, connections and API."""

from __future__ import annotations

import configparser
import hashlib
import io
import json
import subprocess
import sys
from importlib.metadata import version
from urllib.parse import unquote, urlsplit

import httpx2

from include.errors import StackError
from include.operators.pools import pools
from include.settings import PROJECT_ROOT, required
from include.stack.layout import write_private
from include.stack.local_http import local_http
from include.stack.plan import AIRFLOW_USER, LOOPBACK, Plan
from include.stack.postgres import airflow_url

DAG_IDS = tuple(sorted(path.stem for path in (PROJECT_ROOT / "dags").glob("*.py")))


def prepare(plan: Plan) -> None:
    """Write airflow.cfg and the login file; both hold secrets, both are private."""
    home = plan.layout.airflow_home
    write_private(home / "airflow.cfg", _configuration(plan))
    write_private(home / "passwords.json", json.dumps({AIRFLOW_USER: plan.secrets.airflow_admin}))


def migrate(plan: Plan) -> None:
    """Bring Airflow's own database up to date, define our connections and pools; nothing if nothing changed."""
    connections = json.dumps(_connections(plan), indent=2)
    shared = json.dumps(pools(), indent=2)
    wanted = hashlib.sha256(f"{version('apache-airflow')}{connections}{shared}".encode()).hexdigest()
    stamp = plan.layout.airflow_home / ".migrated"
    if stamp.exists() and stamp.read_text() == wanted:
        return
    files = {name: plan.layout.config / f"{name}.json" for name in ("connections", "pools")}
    write_private(files["connections"], connections)
    write_private(files["pools"], shared)
    run(
        plan,
        ["db", "migrate"],
        ["connections", "import", "--overwrite", str(files["connections"])],
        ["pools", "import", str(files["pools"])],
    )
    stamp.write_text(wanted)


#: Airflow takes seconds to load: once for all commands.
_RUN = """
import json, sys
from airflow.cli.cli_parser import get_parser
for command in json.loads(sys.argv[1]):
    chosen = get_parser().parse_args(command)
    chosen.func(chosen)
"""


def run(plan: Plan, *commands: list[str]) -> None:
    """Commands of Airflow's own, one after the other. Raises StackError with the last line of the one that failed."""
    made = subprocess.run(
        [sys.executable, "-c", _RUN, json.dumps(commands)],
        env=plan.process_environment(),
        capture_output=True,
        text=True,
        cwd=PROJECT_ROOT,
    )
    if made.returncode != 0:
        said = (made.stdout + made.stderr).strip().splitlines()
        raise StackError(f"Airflow could not be set up: {said[-1] if said else 'no reason given'}")


def unpause_all(plan: Plan) -> list[str]:
    """Unpause every DAG of ours; those that were paused. Raises KeyError until Airflow knows them all."""
    with _client(plan) as client:
        known = {dag["dag_id"]: dag["is_paused"] for dag in client.get("/dags").raise_for_status().json()["dags"]}
        paused = [dag_id for dag_id in DAG_IDS if known[dag_id]]
        for dag_id in paused:
            client.patch(f"/dags/{dag_id}", json={"is_paused": False}).raise_for_status()
    return paused


def component_health(plan: Plan) -> dict[str, str]:
    """Airflow's own word on metadatabase, scheduler, triggerer, dag_processor."""
    url = f"http://{LOOPBACK}:{plan.settings.ports.airflow}/api/v2/monitor/health"
    answer = local_http().get(url).raise_for_status().json()
    return {name: part.get("status") or "unknown" for name, part in answer.items()}


def _client(plan: Plan) -> httpx2.Client:
    url = f"http://{LOOPBACK}:{plan.settings.ports.airflow}"
    login = {"username": AIRFLOW_USER, "password": plan.secrets.airflow_admin}
    token = httpx2.post(f"{url}/auth/token", json=login, timeout=10).raise_for_status().json()["access_token"]
    headers = {"Authorization": f"Bearer {token}"}
    return httpx2.Client(base_url=f"{url}/api/v2", headers=headers, timeout=10)


def _configuration(plan: Plan) -> str:
    home, port = plan.layout.airflow_home, plan.settings.ports.airflow
    sections: dict[str, dict[str, object]] = {
        "core": {
            "dags_folder": PROJECT_ROOT / "dags",
            "plugins_folder": PROJECT_ROOT / "plugins",
            "executor": "LocalExecutor",
            # Four tasks at a time leave two cores room for Spark and Kafka.
            "parallelism": 4,
            "load_examples": False,
            "fernet_key": plan.secrets.airflow_fernet_key,
            "simple_auth_manager_users": f"{AIRFLOW_USER}:admin",
            "simple_auth_manager_passwords_file": home / "passwords.json",
            "execution_api_server_url": f"http://{LOOPBACK}:{port}/execution/",
        },
        "database": {"sql_alchemy_conn": airflow_url(plan)},
        "api": {
            "host": LOOPBACK,
            "port": port,
            "base_url": f"http://{LOOPBACK}:{port}",
            "workers": 1,
            "secret_key": plan.secrets.airflow_api_secret,
            "expose_config": False,
        },
        "api_auth": {"jwt_secret": plan.secrets.airflow_jwt_secret},
        "logging": {"base_log_folder": plan.layout.logs / "tasks"},
        "dag_processor": {"parsing_processes": 1, "refresh_interval": 30, "min_file_process_interval": 60},
        "scheduler": {
            "orphaned_tasks_check_interval": 30,
            "task_instance_heartbeat_timeout": 120,
        },
        # An API server that restarts must not cost the running tasks their lives.
        "workers": {"max_failed_heartbeats": 20},
    }
    parser = configparser.ConfigParser(interpolation=None)
    parser.read_dict({name: {key: str(value) for key, value in part.items()} for name, part in sections.items()})
    buffer = io.StringIO()
    parser.write(buffer)
    return buffer.getvalue()


def _connections(plan: Plan) -> dict[str, dict[str, object]]:
    chosen = plan.settings
    redis = urlsplit(required(chosen.redis_url, "REDIS_URL"))
    return {
        "kafka_default": {
            "conn_type": "kafka",
            "extra": json.dumps({"bootstrap.servers": required(chosen.kafka_bootstrap_servers, "KAFKA")}),
        },
        "spark_default": {
            "conn_type": "spark",
            "host": chosen.spark_master,
            "extra": json.dumps({"deploy-mode": "client", "spark-binary": "spark-submit"}),
        },
        "postgres_default": _database(required(chosen.writer_database_url, "WRITER_DATABASE_URL")),
        "postgres_checker": _database(required(chosen.checker_database_url, "CHECKER_DATABASE_URL")),
        "postgres_owner": _database(required(chosen.database_url, "DATABASE_URL")),
        "redis_default": {
            "conn_type": "redis",
            "host": redis.hostname,
            "port": redis.port,
            "login": unquote(redis.username or "") or None,
            "password": unquote(redis.password or "") or None,
            "extra": json.dumps({"db": int(redis.path.strip("/") or 0)}),
        },
    }


def _database(url: str) -> dict[str, object]:
    parts = urlsplit(url)
    return {
        "conn_type": "postgres",
        "host": parts.hostname,
        "port": parts.port,
        "login": unquote(parts.username or ""),
        "password": unquote(parts.password or ""),
        "schema": parts.path.strip("/"),
    }
