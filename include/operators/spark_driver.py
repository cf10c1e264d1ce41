"""spark-submit through the Airflow connection `spark_default`, detached from the task that starts it."""

from __future__ import annotations

from pathlib import Path

from airflow.providers.apache.spark.hooks.spark_submit import SparkSubmitHook

from include.operations.stream import Launched
from include.operators.detached import launch_detached
from include.settings import PROJECT_ROOT, Settings

APPLICATION = PROJECT_ROOT / "spark_jobs" / "stream.py"
SPARK_JARS = PROJECT_ROOT / ".venv" / "share" / "jars" / "spark"


class DetachedSparkSubmit(SparkSubmitHook):
    """Builds the command as the hook does; runs it in a session of its own, output to a log file.

    A task's child would die with the task, with the scheduler or with a missed heartbeat, and a retry
    would start a second one. This one outlives them all; the lease keeps it single.
    """

    def launch(self, application: Path, log_file: Path) -> Launched:
        """Start the driver and return at once."""
        return launch_detached(self._build_spark_submit_command(str(application)), log_file)


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
