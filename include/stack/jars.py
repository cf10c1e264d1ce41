"""Jars that no wheel carries, fetched once by config/jars.lock and checked by SHA-256."""

from __future__ import annotations

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import httpx2
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from tenacity import retry, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from include.errors import StackError
from include.settings import PROJECT_ROOT
from include.stack.layout import JARS

LOCK = PROJECT_ROOT / "config" / "jars.lock"
#: Maven's own default; MAVEN_REPOSITORY_URL names a mirror.
CENTRAL = "https://repo1.maven.org/maven2"
PARALLEL_DOWNLOADS = 6


@dataclass(frozen=True, slots=True)
class Jar:
    """`class_path` is the group that uses it: kafka or spark."""

    class_path: str
    maven_path: str
    sha256: str

    @property
    def file(self) -> Path:
        return JARS / self.class_path / self.maven_path.rsplit("/", 1)[1]


def locked_jars() -> list[Jar]:
    lines = [line.split() for line in LOCK.read_text().splitlines() if line and not line.startswith("#")]
    return [Jar(*fields) for fields in lines]


def class_path(name: str) -> str:
    """A JVM class path of all the group's jars."""
    return str(JARS / name / "*")


def install_jars() -> None:
    """Fetch what is missing. Raises StackError in one line if the repository is out of reach."""
    missing = [jar for jar in locked_jars() if not jar.file.exists()]
    if not missing:
        return
    columns = (TextColumn("Kafka and Spark jars"), BarColumn(), MofNCompleteColumn())
    base = (os.environ.get("MAVEN_REPOSITORY_URL") or CENTRAL).rstrip("/")
    with (
        Progress(*columns) as progress,
        httpx2.Client(follow_redirects=True, timeout=60) as client,
        ThreadPoolExecutor(PARALLEL_DOWNLOADS) as pool,
    ):
        task = progress.add_task("jars", total=len(missing))
        for _ in pool.map(lambda jar: _fetch(client, base, jar), missing):
            progress.advance(task)


def damaged_jars() -> list[Jar]:
    """Jars that are missing or not the locked bytes."""
    return [jar for jar in locked_jars() if not jar.file.exists() or _sha256(jar.file) != jar.sha256]


def _fetch(client: httpx2.Client, base: str, jar: Jar) -> None:
    try:
        body = _download(client, f"{base}/{jar.maven_path}")
    except httpx2.HTTPError as error:
        raise StackError(
            f"cannot fetch {jar.file.name} ({type(error).__name__}): is the Maven repository in reach? "
            "Set HTTPS_PROXY for a proxy or MAVEN_REPOSITORY_URL for a mirror, then run this again"
        ) from error
    if hashlib.sha256(body).hexdigest() != jar.sha256:
        raise StackError(f"{jar.file.name} is not the file that config/jars.lock names: refused")
    jar.file.parent.mkdir(parents=True, exist_ok=True)
    temporary = jar.file.with_suffix(f".{os.getpid()}.part")
    temporary.write_bytes(body)
    temporary.replace(jar.file)


@retry(
    retry=retry_if_exception_type(httpx2.TransportError),
    stop=stop_after_attempt(3),
    wait=wait_random_exponential(max=5),
    reraise=True,
)
def _download(client: httpx2.Client, url: str) -> bytes:
    response = client.get(url)
    response.raise_for_status()
    return bytes(response.content)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
