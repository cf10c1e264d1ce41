"""What spark-submit is told for each kind of master. Pure: the Airflow connection and the settings come in."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from include.errors import SettingsError
from include.settings import PROJECT_ROOT, Settings

LOOPBACK = "127.0.0.1"
#: What a driver on another machine must be told to find its settings; secrets it reads there, from `stack.env`.
PASSED_ON = ("PIPELINE_HOME", "PIPELINE_PORT_OFFSET", "MARKET", "PYTHONPATH", "TZ")


class Cluster(StrEnum):
    """Who gives the driver its resources."""

    LOCAL = "local"
    STANDALONE = "standalone"
    YARN = "yarn"
    KUBERNETES = "kubernetes"


def cluster_of(master: str) -> Cluster:
    """From the connection's master. Raises SettingsError for one that we do not know."""
    known = {
        "local": Cluster.LOCAL,
        "spark://": Cluster.STANDALONE,
        "yarn": Cluster.YARN,
        "k8s://": Cluster.KUBERNETES,
    }
    for start, cluster in known.items():
        if master.startswith(start):
            return cluster
    raise SettingsError(f"spark_default: {master!r} is no master; give local[2], spark://host:7077, yarn or k8s://url")


def deploy_mode(cluster: Cluster, wanted: str | None) -> str:
    """Where the driver runs: beside Airflow, or in the cluster. Raises SettingsError for what Spark refuses."""
    if cluster is Cluster.LOCAL:
        return "client"
    if cluster is Cluster.STANDALONE:
        if wanted == "cluster":
            raise SettingsError(
                "spark_default: a standalone master runs no Python driver in the cluster; set deploy-mode to client"
            )
        return "client"
    return wanted or "cluster"


def configuration(cluster: Cluster, mode: str, settings: Settings) -> dict[str, str]:
    """Spark's properties. No secret is among them: they stand on a command line that everybody can read."""
    found = {
        "spark.log.level": "WARN",
        # Planning recurses; the default stack is too small for a deep plan.
        "spark.driver.extraJavaOptions": "-Xss4m",
    }
    if mode == "client":
        # Where the driver is alone on its host, Spark's own default port will do.
        found |= {"spark.ui.port": str(settings.ports.spark_ui), "spark.port.maxRetries": "0"}
    if cluster is Cluster.LOCAL:
        # On one machine nothing listens to the network; executors of a cluster must reach the driver.
        return found | {"spark.driver.host": LOOPBACK, "spark.driver.bindAddress": LOOPBACK}
    # The transforms run in the executors' Python, which finds our package there.
    found["spark.executorEnv.PYTHONPATH"] = str(PROJECT_ROOT)
    if mode == "cluster":
        # The lease supervises: spark-submit may leave as soon as the driver is handed over.
        wait = {Cluster.YARN: "spark.yarn.submit", Cluster.KUBERNETES: "spark.kubernetes.submission"}[cluster]
        found[f"{wait}.waitAppCompletion"] = "false"
    if cluster is Cluster.YARN:
        # One supervisor is enough: ours counts the ends.
        found["spark.yarn.maxAppAttempts"] = "1"
    return found


def passed_on(cluster: Cluster, mode: str, environment: Mapping[str, str]) -> dict[str, str]:
    """Variables for a driver that does not inherit ours. None of them holds a secret."""
    if mode == "client" or cluster not in (Cluster.YARN, Cluster.KUBERNETES):
        return {}
    return {name: environment[name] for name in PASSED_ON if name in environment}


def in_image(cluster: Cluster, mode: str, path: str) -> str:
    """The file as spark-submit takes it: in Kubernetes it stands in the image, and is not uploaded."""
    return f"local://{path}" if cluster is Cluster.KUBERNETES and mode == "cluster" else path
