"""First use: build the locked environment, then become the real command line.

Runs on a bare Python, so it uses the standard library only. The environment is `.venv` beside this
project; what stands in uv.lock is installed by hash. UV_DEFAULT_INDEX or pip's own index setting
names a mirror.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = ROOT / ".venv"
PYTHON = ENVIRONMENT / "bin" / "python"
STAMP = ENVIRONMENT / ".installed.json"
LOCK = ROOT / "uv.lock"
#: Packages, their cache and the jars take about this much.
NEEDED_DISK_GIB = 5
#: Commands that need the developers' tools as well.
DEVELOPER_COMMANDS = ("test", "bench")


class BootstrapError(Exception):
    """One line for the user: what failed and what to do."""


def main() -> None:
    wants_tools = any(argument in DEVELOPER_COMMANDS for argument in sys.argv[1:2])
    try:
        if not _is_current(wants_tools):
            _build(wants_tools)
    except BootstrapError as error:
        print(f"pipeline: {error}", file=sys.stderr)
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(dict.fromkeys(paths))}
    os.execve(PYTHON, [str(PYTHON), "-m", "include.cli", *sys.argv[1:]], environment)


def _is_current(wants_tools: bool) -> bool:
    if not (STAMP.exists() and PYTHON.exists()):
        return False
    stamp = json.loads(STAMP.read_text())
    return bool(stamp["lock"] == _lock_hash() and (stamp["tools"] or not wants_tools))


def _build(wants_tools: bool) -> None:
    free_gib = shutil.disk_usage(ROOT).free / 2**30
    if free_gib < NEEDED_DISK_GIB:
        raise BootstrapError(
            f"{free_gib:.1f} GiB free on the disk of {ROOT}, the first installation needs {NEEDED_DISK_GIB}: "
            "free some space or move the project"
        )
    try:
        ENVIRONMENT.mkdir(exist_ok=True)
    except OSError as error:
        raise BootstrapError(f"cannot write {ENVIRONMENT}: {error.strerror}") from None
    with (ENVIRONMENT / ".building").open("w") as guard:
        try:
            fcntl.flock(guard, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _say("another ./pipeline is building the environment, waiting for it")
            fcntl.flock(guard, fcntl.LOCK_EX)
        if _is_current(wants_tools):
            return
        # Tools that stand stay: a test may be running on them while another terminal asks for `up`.
        tools = wants_tools or (STAMP.exists() and json.loads(STAMP.read_text())["tools"])
        uv = _install_uv()
        _synchronise(uv, tools)
        STAMP.write_text(json.dumps({"lock": _lock_hash(), "tools": tools}))


def _install_uv() -> str:
    """The locked uv, inside the environment."""
    uv = ENVIRONMENT / "bin" / "uv"
    version, hashes = _locked_uv()
    if uv.exists() and version in _output([str(uv), "--version"]):
        return str(uv)
    found = shutil.which("uv")
    if not (PYTHON.exists() and (ENVIRONMENT / "bin" / "pip").exists()):
        _say(f"1/3 making the environment {ENVIRONMENT.name} with Python {sys.version.split()[0]}")
        maker = [sys.executable, "-m", "venv", str(ENVIRONMENT)]
        if subprocess.run(maker, capture_output=True).returncode != 0:
            if found is None:
                raise BootstrapError(
                    "this Python cannot make a virtual environment: install its venv module "
                    "(Debian: python3-venv), or uv"
                )
            _run([found, "venv", "--quiet", "--allow-existing", "--python", sys.executable, str(ENVIRONMENT)])
    _say(f"2/3 fetching the installer (uv {version})")
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as requirement:
        requirement.write(f"uv=={version} {' '.join('--hash=' + digest for digest in hashes)}\n")
        requirement.flush()
        if (ENVIRONMENT / "bin" / "pip").exists():
            _run([str(PYTHON), "-m", "pip", "install", "-q", "--require-hashes", "-r", requirement.name])
        elif found is not None:
            command = [found, "pip", "install", "-q", "--python", str(PYTHON), "--require-hashes"]
            _run([*command, "-r", requirement.name])
    return str(uv)


def _synchronise(uv: str, wants_tools: bool) -> None:
    environment = index_settings()
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as requirements:
        groups = ["--group", "dev"] if wants_tools else ["--no-dev"]
        export = [uv, "export", "--quiet", "--frozen", "--no-emit-project", "--format", "requirements.txt"]
        _run([*export, *groups, "--output-file", requirements.name], quiet=True)
        count = sum(1 for line in Path(requirements.name).read_text().splitlines() if "==" in line)
        _say(f"3/3 installing the locked packages (up to {count}, about 1 GB the first time)")
        command = [uv, "pip", "sync", "--require-hashes", "--python", str(PYTHON), requirements.name]
        _run(command, environment)


def index_settings() -> dict[str, str]:
    """uv does not read pip's settings; a mirror that is set for pip holds for uv too."""
    if any(name in os.environ for name in ("UV_DEFAULT_INDEX", "UV_INDEX_URL")):
        return {}
    index = os.environ.get("PIP_INDEX_URL", "")
    if not index and (ENVIRONMENT / "bin" / "pip").exists():
        for line in _output([str(PYTHON), "-m", "pip", "config", "list"]).splitlines():
            if line.startswith(("global.index-url=", "install.index-url=")):
                index = line.split("=", 1)[1].strip("'\"")
    return {"UV_DEFAULT_INDEX": index} if index else {}


def _locked_uv() -> tuple[str, list[str]]:
    packages = tomllib.loads(LOCK.read_text())["package"]
    package = next(entry for entry in packages if entry["name"] == "uv")
    return package["version"], [wheel["hash"] for wheel in package["wheels"]]


def _lock_hash() -> str:
    return hashlib.sha256(LOCK.read_bytes()).hexdigest()


def _run(command: list[str], environment: dict[str, str] | None = None, *, quiet: bool = False) -> None:
    """Run an installer. Its progress goes to a terminal; elsewhere only its failure is shown."""
    shown = sys.stderr.isatty() and not quiet
    process = subprocess.run(
        command,
        env=os.environ | (environment or {}),
        stdout=sys.stderr if shown else subprocess.DEVNULL,
        stderr=None if shown else subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    if process.returncode != 0:
        lines = [line.strip() for line in (process.stderr or "").splitlines() if line.strip()]
        cause = f" ({lines[-1][:200]})" if lines else ""
        raise BootstrapError(
            "the packages could not be installed; if the package registry is out of reach, set HTTPS_PROXY "
            f"for a proxy or UV_DEFAULT_INDEX and PIP_INDEX_URL for a mirror, then run this again{cause}"
        )


def _output(command: list[str]) -> str:
    return subprocess.run(command, capture_output=True, text=True).stdout


def _say(line: str) -> None:
    print(f"pipeline: {line}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
