"""docker-compose.yml against the rules of the Compose specification and of this project."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml

from include.settings import PROJECT_ROOT, Ports
from include.stack.plan import Plan, make_plan
from include.stack.services import services as local_services
from tests.unit.project.files import compose, compose_services, is_ours

SERVICES = sorted(compose_services())
OURS = [name for name in SERVICES if is_ours(compose_services()[name])]
#: A tool for the health check that each image surely has. None of them carries curl.
HEALTH_TOOLS = {
    "postgres": "pg_isready",
    "redis": "redis-cli",
    "apache/kafka": "/opt/kafka/bin/kafka-broker-api-versions.sh",
    "ghcr.io/kafbat/kafka-ui": "wget",
    "market-data-platform": "python",
}
#: The keys of the Compose specification that this file uses; a mistyped one would be ignored or refused.
SERVICE_KEYS = {
    *("build", "cap_drop", "command", "depends_on", "entrypoint", "env_file", "environment", "healthcheck"),
    *("image", "init", "logging", "ports", "profiles", "restart", "secrets", "security_opt", "shm_size"),
    *("stop_grace_period", "stop_signal", "tmpfs", "user", "volumes"),
}
HEALTH_KEYS = {"test", "interval", "timeout", "retries", "start_period", "start_interval"}


@pytest.fixture
def local(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Plan:
    """The local stack as it would be started for the sandbox market."""
    monkeypatch.setenv("PIPELINE_HOME", str(tmp_path))
    return make_plan("sandbox")


def service(name: str) -> dict[str, Any]:
    return compose_services()[name]


@pytest.mark.parametrize("name", SERVICES)
def test_only_known_keys_are_used(name: str) -> None:
    assert set(service(name)) <= SERVICE_KEYS
    assert set(service(name).get("healthcheck", {})) <= HEALTH_KEYS


@pytest.mark.parametrize("name", SERVICES)
def test_the_image_is_pinned_by_version(name: str) -> None:
    repository, separator, tag = service(name)["image"].rpartition(":")
    assert separator
    assert repository
    assert re.match(r"v?\d+\.\d+(\.\d+)?", tag), f"{tag} is not a version"


@pytest.mark.parametrize("name", SERVICES)
def test_it_says_when_it_is_well_or_it_ends(name: str) -> None:
    if service(name)["restart"] == "no":
        assert "healthcheck" not in service(name)
        return
    check = service(name)["healthcheck"]["test"]
    assert check[0] in ("CMD", "CMD-SHELL")
    tool = HEALTH_TOOLS[service(name)["image"].rpartition(":")[0]]
    assert check[1] == tool if check[0] == "CMD" else f" {tool} " in check[1]


@pytest.mark.parametrize("name", SERVICES)
def test_it_comes_back_after_a_crash_or_runs_once(name: str) -> None:
    assert service(name)["restart"] in ("unless-stopped", "no")


@pytest.mark.parametrize("name", SERVICES)
def test_it_does_not_run_as_root(name: str) -> None:
    user = re.sub(r"\$\{\w+:-(\w+)\}", r"\1", service(name)["user"])
    assert user.split(":")[0] not in ("", "0", "root")
    assert service(name)["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service(name)["security_opt"]


@pytest.mark.parametrize("name", SERVICES)
def test_ports_are_published_on_loopback_only(name: str) -> None:
    for port in service(name).get("ports", []):
        assert re.fullmatch(r"127\.0\.0\.1:\d+:\d+", port), port


def test_the_published_ports_are_those_of_the_contract() -> None:
    published = {name: int(port.split(":")[1]) for name in SERVICES for port in service(name).get("ports", [])}
    ports = Ports(0)
    assert published == {
        "airflow-api-server": ports.airflow,
        # The Spark driver's page: the driver runs beside the scheduler.
        "airflow-scheduler": ports.spark_ui,
        "dashboard": ports.dashboard,
        "kafka": ports.kafka,
        "kafka-ui": 8090,
        "postgres": ports.postgres,
        "redis": ports.redis,
    }


@pytest.mark.parametrize("name", SERVICES)
def test_it_waits_for_what_can_be_waited_for(name: str) -> None:
    for target, how in service(name).get("depends_on", {}).items():
        other = service(target)
        if how["condition"] == "service_completed_successfully":
            assert other["restart"] == "no"
        else:
            assert how["condition"] == "service_healthy"
            assert "healthcheck" in other
        # A service outside the active profiles would make the project invalid.
        if "profiles" in other and "profiles" not in service(name):
            assert how["required"] is False


def test_the_start_order_has_no_circle() -> None:
    waiting = {name: set(service(name).get("depends_on", {})) for name in SERVICES}
    while free := {name for name, targets in waiting.items() if not targets}:
        waiting = {name: targets - free for name, targets in waiting.items() if name not in free}
    assert not waiting


@pytest.mark.parametrize("name", SERVICES)
def test_no_secret_stands_in_the_file(name: str) -> None:
    for key, value in service(name).get("environment", {}).items():
        if re.search(r"PASSWORD|SECRET|TOKEN|FERNET|_KEY$", key):
            assert "/run/secrets/" in str(value) or str(value).startswith("/state/"), key
    assert not re.search(r"://[^/\s]*:[^/\s]+@", yaml.safe_dump(service(name)))


@pytest.mark.parametrize("name", SERVICES)
def test_what_it_mounts_exists(name: str) -> None:
    assert set(service(name).get("secrets", [])) <= set(compose()["secrets"])
    for volume in service(name).get("volumes", []):
        # The target and its options follow the last colon before a path in the container.
        source = re.sub(r"\$\{\w+:-(.*?)\}", r"\1", volume).split(":")[0]
        if source.startswith("."):
            assert (PROJECT_ROOT / source).exists(), source
        else:
            assert source in compose()["volumes"]


def test_every_secret_and_volume_is_used() -> None:
    used = {secret for name in SERVICES for secret in service(name).get("secrets", [])}
    assert used == set(compose()["secrets"])
    mounted = {volume.split(":")[0] for name in SERVICES for volume in service(name).get("volumes", [])}
    assert set(compose()["volumes"]) <= mounted


def test_the_services_of_the_local_stack_are_here_under_the_same_names(local: Plan) -> None:
    names = {entry.name for entry in local_services(local)}
    assert names <= set(SERVICES)
    assert set(SERVICES) - names == {"initialise", "kafka-ui", "spark-master", "spark-worker"}


def test_airflow_is_started_as_in_the_local_stack(local: Plan) -> None:
    for entry in local_services(local):
        if entry.name.startswith("airflow-"):
            command = list(entry.program.command)
            assert service(entry.name)["command"] == ["airflow", *command[command.index("airflow") + 1 :]]


def test_the_stand_in_runs_for_markets_that_are_not_live_only() -> None:
    assert set(service("sandbox")["profiles"]) == {"sandbox", "replay"}
    assert "${MARKET:-live}" in compose()["name"]
    assert all("profiles" not in service(name) for name in SERVICES if name != "sandbox")


@pytest.mark.parametrize("name", OURS)
def test_its_command_names_what_exists(name: str) -> None:
    program, *arguments = service(name)["command"]
    assert program == "sh" or (PROJECT_ROOT / ".venv" / "bin" / program).exists()
    for argument in arguments:
        if argument.startswith("docker/"):
            assert (PROJECT_ROOT / argument).is_file()
        elif argument.startswith("include."):
            assert find_spec(f"{argument}.__main__") is not None


def test_airflow_knows_every_option_that_is_set() -> None:
    spec = find_spec("airflow")
    assert spec is not None
    assert spec.origin is not None
    options = yaml.safe_load((Path(spec.origin).parent / "config_templates" / "config.yml").read_text())
    # Providers and the task SDK bring sections of their own; the simple login is in the core's list.
    for key in service("airflow-scheduler")["environment"]:
        if key.startswith("AIRFLOW__"):
            section, option = key.lower().removeprefix("airflow__").split("__")
            assert option in options[section]["options"], key


def test_airflow_tasks_find_the_server_by_its_service_name() -> None:
    for name in (name for name in SERVICES if name.startswith("airflow-")):
        url = service(name)["environment"]["AIRFLOW__CORE__EXECUTION_API_SERVER_URL"]
        assert url == "http://airflow-api-server:8080/execution/"
