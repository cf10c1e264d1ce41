"""Which code this process runs: what the ledger, the quality runs and the lineage events say of it."""

from __future__ import annotations

import hashlib
import tomllib
from functools import cache
from pathlib import Path

from include.settings import PROJECT_ROOT

#: What makes figures out of records.
ROOMS = ("include", "spark_jobs")


@cache
def code_version() -> str:
    """`<package>+g<commit>.<digest>`, without a checkout `<package>+<digest>`; as the files were when first asked.

    The digest is there beside the commit because files may differ from it: two runs of one commit with another line of
    code between them are told apart.
    """
    return version_of(PROJECT_ROOT)


def version_of(root: Path) -> str:
    """The same of any tree. Raises OSError where it has no pyproject.toml."""
    package = tomllib.loads((root / "pyproject.toml").read_text())["project"]["version"]
    commit, digest = _commit(root / ".git"), _digest(root)
    return f"{package}+g{commit[:12]}.{digest}" if commit else f"{package}+{digest}"


def _digest(root: Path) -> str:
    """Of names and contents of the Python files, however they are ordered on the disk."""
    whole = hashlib.sha256()
    for room in ROOMS:
        for file in sorted((root / room).rglob("*.py")):
            content = hashlib.sha256(file.read_bytes()).hexdigest()
            whole.update(f"{file.relative_to(root).as_posix()} {content}\n".encode())
    return whole.hexdigest()[:8]


def _commit(git: Path) -> str | None:
    """What HEAD names; None where there is no checkout. By hand: the program `git` need not be there."""
    if git.is_file():  # of a further work tree
        git = (git.parent / git.read_text().removeprefix("gitdir:").strip()).resolve()
    head = git / "HEAD"
    if not head.is_file():
        return None
    said = head.read_text().strip()
    if not said.startswith("ref: "):
        return said
    name = said.removeprefix("ref: ")
    shared = git / "commondir"
    home = (git / shared.read_text().strip()).resolve() if shared.is_file() else git
    if (home / name).is_file():
        return (home / name).read_text().strip()
    packed = home / "packed-refs"
    lines = packed.read_text().splitlines() if packed.is_file() else []
    return next((line.split()[0] for line in lines if line.endswith(f" {name}")), None)
