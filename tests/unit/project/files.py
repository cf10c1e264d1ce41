"""The project's own files, and what the locks and the Compose file say."""

from __future__ import annotations

import subprocess
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from include.settings import PROJECT_ROOT

#: Folders that hold no source of ours.
_NOT_OURS = {".git", ".venv", ".pipeline", "test-results", "__pycache__", "node_modules"}


def project_files() -> Iterator[Path]:
    """Every file that is, or would be, committed; without git all but the state and tool folders."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=PROJECT_ROOT,
        capture_output=True,
        text=True,
    )
    if listed.returncode == 0:
        candidates = [PROJECT_ROOT / name for name in listed.stdout.split("\0") if name]
    else:
        candidates = [path for path in PROJECT_ROOT.rglob("*") if not _NOT_OURS & set(path.parts)]
    yield from (path for path in candidates if path.is_file())


@cache
def locked_versions() -> dict[str, str]:
    """Package name to the version in uv.lock."""
    packages = tomllib.loads((PROJECT_ROOT / "uv.lock").read_text())["package"]
    return {package["name"]: package["version"] for package in packages if "version" in package}


@cache
def locked_jar_versions() -> dict[tuple[str, str], str]:
    """(class path, artifact) to the version in config/jars.lock."""
    found = {}
    for line in (PROJECT_ROOT / "config" / "jars.lock").read_text().splitlines():
        if line and not line.startswith("#"):
            class_path, maven_path, _digest = line.split()
            *_group, artifact, version, _file = maven_path.split("/")
            found[class_path, artifact] = version
    return found


@cache
def compose() -> dict[str, Any]:
    """docker-compose.yml with its anchors merged and its variables as they are written."""
    document: dict[str, Any] = yaml.safe_load((PROJECT_ROOT / "docker-compose.yml").read_text())
    return document


@cache
def compose_services() -> dict[str, dict[str, Any]]:
    services: dict[str, dict[str, Any]] = compose()["services"]
    return services


def is_ours(service: dict[str, Any]) -> bool:
    """Whether a Compose service runs the image that our Dockerfile builds."""
    return "build" in service


@cache
def dockerfile() -> list[tuple[str, str]]:
    """The Dockerfile's instructions in order: (name, rest), comments gone and continued lines joined."""
    lines = [line for line in (PROJECT_ROOT / "Dockerfile").read_text().splitlines() if not line.startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    found = []
    for line in joined.splitlines():
        if line.strip():
            name, _, rest = line.strip().partition(" ")
            found.append((name.upper(), rest.strip()))
    return found
