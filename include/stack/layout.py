"""Where a stack keeps its things. One folder a market; secrets and configuration are private to the owner."""

from __future__ import annotations

import hashlib
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from include.settings import PROJECT_ROOT, stack_env_file

ENVIRONMENT = PROJECT_ROOT / ".venv"
JARS = ENVIRONMENT / "share" / "jars"
LOG_TAIL_BYTES = 64_000


@dataclass(frozen=True, slots=True)
class Layout:
    """Paths of one market's stack under one PIPELINE_HOME."""

    home: Path
    market: str

    @property
    def state(self) -> Path:
        return self.home / self.market

    @property
    def data(self) -> Path:
        return self.state / "data"

    @property
    def logs(self) -> Path:
        return self.state / "logs"

    @property
    def config(self) -> Path:
        return self.state / "config"

    @property
    def airflow_home(self) -> Path:
        return self.state / "airflow"

    @property
    def secrets_file(self) -> Path:
        return self.state / "secrets.json"

    @property
    def stack_env(self) -> Path:
        return stack_env_file(self.home, self.market)

    @property
    def instance(self) -> str:
        """Marks every process of this stack in its environment, so that none can be forgotten."""
        return hashlib.sha256(str(self.state).encode()).hexdigest()[:16]

    @property
    def socket(self) -> Path:
        """Supervisor's socket. Not under `home`: a socket's path may have 107 bytes only."""
        return Path(tempfile.gettempdir()) / f"market-data-{os.getuid()}-{self.instance}" / "supervisor.sock"

    def make(self) -> None:
        """Create the folders, readable by the owner alone."""
        self.home.mkdir(parents=True, exist_ok=True)
        folders = (self.state, self.data, self.logs, self.config, self.airflow_home)
        for folder in folders:
            folder.mkdir(mode=0o700, exist_ok=True)

    def log(self, service: str) -> Path:
        return self.logs / f"{service}.log"


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read, whole or not at all."""
    temporary = path.with_name(f".{path.name}.new")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    temporary.replace(path)


def make_executable(program: Path) -> None:
    """Some wheels lose the mode; another user's installation is left as it is."""
    if not os.access(program, os.X_OK):
        program.chmod(program.stat().st_mode | 0o111)


def last_log_line(path: Path) -> str:
    """The newest line that says something; empty without a log."""
    if not path.exists():
        return ""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - LOG_TAIL_BYTES))
        lines = [line.strip() for line in file.read().decode(errors="replace").splitlines()]
    telling = [line for line in lines if line and not line.startswith(("at ", "^", "~"))]
    return telling[-1][:300] if telling else ""
