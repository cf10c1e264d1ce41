"""What spark-submit is told for each kind of master: the command line that Airflow's hook really builds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.apache.spark.hooks import spark_submit as provider

from include.errors import MarketDataError, SettingsError
from include.operators.detached import run_module
from include.operators.spark_driver import STREAM, SparkFailed, SparkSubmit, tracked_in
from include.settings import PROJECT_ROOT, Settings

SECRET = "s3cr3t-of-the-database"


@pytest.fixture
def chosen(tmp_path: Path) -> Settings:
    return Settings(
        market="sandbox",
        pipeline_home=tmp_path,
        pipeline_port_offset=100,
        writer_database_url=f"postgresql://w:{SECRET}@db/x",  # type: ignore[arg-type]
    )


@pytest.fixture
def connection(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Sets spark_default as a URI or as JSON, as Airflow reads it from the environment."""
    monkeypatch.setenv("PIPELINE_HOME", "/shared/market-data")
    monkeypatch.setenv("MARKET", "live")
    monkeypatch.setenv("WRITER_DATABASE_URL", f"postgresql://w:{SECRET}@db/x")
    # The hook's class for Kubernetes asks for its client, which the command line does not need.
    monkeypatch.setattr(provider, "kube_client", object(), raising=False)
    return lambda value: monkeypatch.setenv("AIRFLOW_CONN_SPARK_DEFAULT", value)


def as_json(host: str, **extra: str) -> str:
    return json.dumps({"conn_type": "spark", "host": host, "extra": extra})


def properties(command: list[str]) -> dict[str, str]:
    pairs = [command[at + 1] for at, word in enumerate(command) if word == "--conf"]
    return dict(pair.split("=", 1) for pair in pairs)


def option(command: list[str], name: str) -> str:
    return command[command.index(name) + 1]


def test_on_one_machine_it_stays_on_loopback_and_its_pages_on_their_port(connection: Any, chosen: Settings) -> None:
    connection(as_json("local[2]", **{"deploy-mode": "client", "spark-binary": "spark-submit"}))
    submit = SparkSubmit(chosen)
    command = submit.command(STREAM, ["--rebuild"])
    found = properties(command)
    assert command[0] == "spark-submit"
    assert command[-2:] == [str(STREAM), "--rebuild"]
    assert (option(command, "--master"), option(command, "--deploy-mode")) == ("local[2]", "client")
    assert option(command, "--driver-memory") == "1g"
    assert found["spark.driver.host"] == found["spark.driver.bindAddress"] == "127.0.0.1"
    assert (found["spark.ui.port"], found["spark.port.maxRetries"]) == ("4140", "0")
    assert submit.is_on_this_host
    assert submit.command(STREAM)[-1] == str(STREAM), "the argument was for one start"


@pytest.mark.parametrize("uri", ["spark://head:7077", as_json("spark://head:7077")])
def test_a_standalone_master_gets_a_driver_here_that_its_executors_can_reach(
    connection: Any, chosen: Settings, uri: str
) -> None:
    connection(uri)
    submit = SparkSubmit(chosen)
    command = submit.command(STREAM)
    found = properties(command)
    assert (option(command, "--master"), option(command, "--deploy-mode")) == ("spark://head:7077", "client")
    assert "spark.driver.host" not in found
    assert found["spark.executorEnv.PYTHONPATH"] == str(PROJECT_ROOT)
    assert submit.is_on_this_host


@pytest.mark.parametrize(
    ("uri", "master", "variables", "wait"),
    [
        ("yarn://", "yarn", "spark.yarn.appMasterEnv", "spark.yarn.submit.waitAppCompletion"),
        (as_json("yarn", queue="market"), "yarn", "spark.yarn.appMasterEnv", "spark.yarn.submit.waitAppCompletion"),
        (
            as_json("k8s://https://api:6443", namespace="market"),
            "k8s://https://api:6443",
            "spark.kubernetes.driverEnv",
            "spark.kubernetes.submission.waitAppCompletion",
        ),
    ],
)
def test_a_cluster_runs_the_driver_itself(
    connection: Any, chosen: Settings, uri: str, master: str, variables: str, wait: str
) -> None:
    connection(uri)
    submit = SparkSubmit(chosen)
    command = submit.command(STREAM)
    found = properties(command)
    assert (option(command, "--master"), option(command, "--deploy-mode")) == (master, "cluster")
    assert not submit.is_on_this_host
    assert found[wait] == "false", "spark-submit leaves, the lease supervises"
    assert found[f"{variables}.PIPELINE_HOME"] == "/shared/market-data"
    assert found[f"{variables}.MARKET"] == "live"
    assert "spark.driver.host" not in found
    assert "spark.ui.port" not in found
    is_kubernetes = master.startswith("k8s")
    assert command[-1] == (f"local://{STREAM}" if is_kubernetes else str(STREAM))
    assert found.get("spark.kubernetes.namespace") == ("market" if is_kubernetes else None)
    if "queue" in uri:
        assert option(command, "--queue") == "market"


@pytest.mark.parametrize("master", ["yarn", "k8s://https://api:6443"])
def test_a_cluster_may_be_told_to_leave_the_driver_here(connection: Any, chosen: Settings, master: str) -> None:
    connection(as_json(master, **{"deploy-mode": "client"}))
    submit = SparkSubmit(chosen)
    command = submit.command(STREAM)
    assert submit.is_on_this_host
    assert option(command, "--deploy-mode") == "client"
    assert command[-1] == str(STREAM)
    found = properties(command)
    assert found["spark.ui.port"] == "4140"
    # A process here inherits our environment.
    assert not any("Env." in name and "executorEnv" not in name for name in found)


@pytest.mark.parametrize("uri", [as_json("local[2]"), "spark://head:7077", "yarn://", as_json("k8s://https://api")])
def test_no_secret_is_on_a_command_line(connection: Any, chosen: Settings, uri: str) -> None:
    connection(uri)
    assert SECRET not in " ".join(SparkSubmit(chosen).command(STREAM))


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        (as_json("spark://head:7077", **{"deploy-mode": "cluster"}), "a standalone master runs no Python driver"),
        (as_json("mesos://head"), "'mesos://head' is no master"),
    ],
)
def test_what_cannot_work_is_refused_in_one_line(connection: Any, chosen: Settings, uri: str, message: str) -> None:
    connection(uri)
    with pytest.raises(SettingsError, match=message):
        SparkSubmit(chosen)


@pytest.mark.parametrize(
    ("words", "tracked"),
    [
        ("INFO Client: Submitted application application_1700000000000_0042\n", "application_1700000000000_0042"),
        ("\t pod name: market-stream-7f3a-driver\n\t namespace: market\n", "market-stream-7f3a-driver"),
        ("application with submission ID spark:market-stream-7f3a-driver into", "market-stream-7f3a-driver"),
        ("nothing of the kind", None),
    ],
)
def test_the_clusters_own_name_of_the_driver_is_kept(words: str, tracked: str | None) -> None:
    assert tracked_in(words) == tracked


class Pretended(SparkSubmit):
    """Runs a shell's line in the place of spark-submit."""

    def __init__(self, line: str, settings: Settings) -> None:
        super().__init__(settings)
        self._line = line

    def command(self, application: Path, arguments: Any = ()) -> list[str]:
        return ["sh", "-c", self._line]


def test_a_cluster_that_takes_the_driver_or_not(connection: Any, chosen: Settings, tmp_path: Path) -> None:
    connection("yarn://")
    log = tmp_path / "logs" / "stream.log"
    launched = Pretended("echo Submitted application application_1_2", chosen).launch(STREAM, log)
    assert (launched.pid, launched.tracked) == (None, "application_1_2")
    with pytest.raises(SparkFailed, match=r"did not take the driver \(3\): no such queue"):
        Pretended("echo no such queue; exit 3", chosen).launch(STREAM, log)
    assert "application_1_2" in log.read_text()


def test_a_module_is_waited_for_and_says_what_it_did(tmp_path: Path) -> None:
    log = tmp_path / "logs" / "found.log"
    assert run_module("json.tool", ["--help"], log, 30)
    with pytest.raises(MarketDataError, match=r"json.tool ended with code 2: .*unrecognized arguments: --no-such"):
        run_module("json.tool", ["--no-such"], log, 30)
    assert "unrecognized arguments" in log.read_text()
