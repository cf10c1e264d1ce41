"""The real Spark driver, submitted as in production, for the tests that start it themselves."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path

import psutil

from include.settings import PROJECT_ROOT
from include.stack.control import DRIVER_SCRIPT
from include.stack.layout import JARS
from include.stack.processes import running_python
from tests.stores import Services


class Driver:
    """One spark-submit of the real application."""

    def __init__(
        self, services: Services, log: Path, *arguments: str, environment: Mapping[str, str] | None = None
    ) -> None:
        jars = ",".join(str(jar) for jar in sorted((JARS / "spark").glob("*.jar")))
        configuration = {
            "spark.jars": jars,
            "spark.driver.host": "127.0.0.1",
            # Two drivers stand side by side in some tests, so no fixed port.
            "spark.ui.enabled": "false",
            "spark.log.level": "WARN",
            "spark.driver.extraJavaOptions": "-Xss4m",
        }
        options = [part for name, value in configuration.items() for part in ("--conf", f"{name}={value}")]
        self.log = log
        self.layout = services.plan.layout
        with log.open("ab") as output:
            application = str(PROJECT_ROOT / "spark_jobs" / "stream.py")
            self.process = subprocess.Popen(
                ["spark-submit", "--master", "local[2]", *options, application, *arguments],
                env=services.environment | dict(environment or {}),
                cwd=PROJECT_ROOT,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def kill(self) -> None:
        """As a crash does it: JVM and Python at once, no goodbye."""
        self.signal(signal.SIGKILL)
        self.process.wait(30)

    @property
    def is_running(self) -> bool:
        return self.process.poll() is None

    def signal(self, number: int) -> None:
        """To JVM and Python at once."""
        os.killpg(self.process.pid, number)

    def stop(self) -> int:
        """SIGTERM to the Python process, as `./pipeline down` does."""
        self.python().terminate()
        return self.process.wait(60)

    def python(self) -> psutil.Process:
        """The half that runs our code; the other half is the JVM that spark-submit became."""
        (found,) = (
            driver for driver in running_python(self.layout, DRIVER_SCRIPT) if os.getsid(driver.pid) == self.process.pid
        )
        return found
