"""spark-submit through the Airflow connection `spark_default`, detached from the task that starts it."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

from airflow.providers.apache.spark.hooks.spark_submit import SparkSubmitHook

from include.errors import MarketDataError
from include.operations.stream import Launched
from include.operators.detached import last_words, launch_detached, own_environment
from include.operators.spark_options import Cluster, cluster_of, configuration, deploy_mode, in_image, passed_on
from include.settings import PROJECT_ROOT, Settings

STREAM = PROJECT_ROOT / "spark_jobs" / "stream.py"
SPARK_JARS = PROJECT_ROOT / ".venv" / "share" / "jars" / "spark"
#: A cluster takes a driver over within this time.
SUBMIT_SECONDS = 180
#: What YARN and Kubernetes call the driver, in spark-submit's own words.
_TRACKED = re.compile(r"application_\d+_\d+|(?<=pod name: )\S+-driver|(?<=submission ID spark:)\S+-driver")


class SparkFailed(MarketDataError):
    """spark-submit did not do it; the message has its last words."""

    retriable = True


class SparkSubmit(SparkSubmitHook):
    """Builds the command as the hook does; runs it in a session of its own, output to a log file.

    A task's child would die with the task, with the scheduler or with a missed heartbeat, and a retry
    would start a second one. This one outlives them all; the lease keeps it single.
    """

    def __init__(self, settings: Settings, connection_id: str = "spark_default") -> None:
        super().__init__(conn_id=connection_id, name="market_stream", driver_memory="1g")
        self.cluster = cluster_of(self._connection["master"])
        if self.cluster is Cluster.YARN:
            # From a URI the hook makes "yarn://", which Spark does not take.
            self._connection["master"] = "yarn"
        self.mode = deploy_mode(self.cluster, self._connection["deploy_mode"])
        self._connection["deploy_mode"] = self.mode
        self._conf = configuration(self.cluster, self.mode, settings)
        self._env_vars = passed_on(self.cluster, self.mode, os.environ)
        jars = [in_image(self.cluster, self.mode, str(jar)) for jar in sorted(SPARK_JARS.glob("*.jar"))]
        self._jars = ",".join(jars)

    @property
    def is_on_this_host(self) -> bool:
        """Whether the driver is a process of this machine."""
        return self.mode == "client"

    def command(self, application: Path, arguments: Sequence[str] = ()) -> list[str]:
        """The whole command line."""
        self._application_args = list(arguments)
        return list(self._build_spark_submit_command(in_image(self.cluster, self.mode, str(application))))

    def launch(self, application: Path, log_file: Path, arguments: Sequence[str] = ()) -> Launched:
        """Start the driver and return: at once where it is a process here, else when the cluster has taken it over.

        Raises SparkFailed where the cluster does not take it.
        """
        command = self.command(application, arguments)
        return launch_detached(command, log_file) if self.is_on_this_host else self._hand_over(command, log_file)

    def _hand_over(self, command: list[str], log_file: Path) -> Launched:
        log_file.parent.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(
            command,
            cwd=PROJECT_ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=SUBMIT_SECONDS,
            env=own_environment(os.environ),
        )
        with log_file.open("a") as output:
            output.write(done.stdout)
        if done.returncode != 0:
            raise SparkFailed(f"the cluster did not take the driver ({done.returncode}): {last_words(log_file)}")
        return Launched(None, tracked_in(done.stdout))


def tracked_in(words: str) -> str | None:
    """What the cluster calls the driver, from spark-submit's output."""
    found = _TRACKED.search(words)
    return found.group(0) if found else None
