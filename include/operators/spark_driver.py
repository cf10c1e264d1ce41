"""spark-submit through the Airflow connection `spark_default`, detached from the task that starts it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from airflow.providers.apache.spark.hooks.spark_submit import SparkSubmitHook

from include.operations.stream import Launched
from include.settings import PROJECT_ROOT, Settings

APPLICATION = PROJECT_ROOT / "spark_jobs" / "stream.py"
SPARK_JARS = PROJECT_ROOT / ".venv" / "share" / "jars" / "spark"
LAST_WORDS_BYTES = 4_000


class DetachedSparkSubmit(SparkSubmitHook):
    """Builds the command as the hook does; runs it in a session of its own, output to a log file.

    A task's child would die with the task, with the scheduler or with a missed heartbeat, and a retry
    would start a second one. This one outlives them all; the lease keeps it single.
    """

    def launch(self, application: Path, log_file: Path) -> Launched:
        """Start the driver and return at once."""
        command = self._build_spark_submit_command(str(application))
        log_file.parent.mkdir(parents=True, exist_ok=True)
        with log_file.open("ab") as output:
            process = subprocess.Popen(
                command,
                cwd=PROJECT_ROOT,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                close_fds=True,
                env=driver_environment(os.environ),
            )
        return Launched(process.pid, process.poll, lambda: _last_words(log_file))


def spark_submit(settings: Settings, connection_id: str = "spark_default") -> DetachedSparkSubmit:
    """The hook for our application: connector jars, UI on loopback, small heap."""
    return DetachedSparkSubmit(
        conn_id=connection_id,
        name="market_stream",
        jars=",".join(str(jar) for jar in sorted(SPARK_JARS.glob("*.jar"))),
        driver_memory="1g",
        conf=_loopback_only(settings.spark_master)
        | {
            "spark.ui.port": str(settings.ports.spark_ui),
            "spark.port.maxRetries": "0",
            "spark.log.level": "WARN",
            # Planning recurses; the default stack is too small for a deep plan.
            "spark.driver.extraJavaOptions": "-Xss4m",
        },
    )


def _loopback_only(master: str) -> dict[str, str]:
    """On one machine nothing listens to the network; executors of a cluster must reach the driver."""
    if not master.startswith("local"):
        return {}
    return {"spark.driver.host": "127.0.0.1", "spark.driver.bindAddress": "127.0.0.1"}


def driver_environment(given: os._Environ[str] | dict[str, str]) -> dict[str, str]:
    """The task's environment without what belongs to the task alone."""
    return {name: value for name, value in given.items() if not name.startswith(("AIRFLOW_CTX_", "_AIRFLOW"))}


def _last_words(log_file: Path) -> str:
    with log_file.open("rb") as file:
        file.seek(max(0, log_file.stat().st_size - LAST_WORDS_BYTES))
        lines = [line.strip() for line in file.read().decode(errors="replace").splitlines() if line.strip()]
    return lines[-1] if lines else "it said nothing"
