"""`./pipeline test`: every check that a merge must pass, in the order of their cost."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from include.errors import StackError
from include.settings import PROJECT_ROOT, Settings
from include.stack.jars import install_jars
from include.stack.layout import ENVIRONMENT

BIN = ENVIRONMENT / "bin"
CHECKS: dict[str, list[str]] = {
    "lock": [str(BIN / "uv"), "lock", "--check", "--quiet"],
    "lint": [str(BIN / "ruff"), "check", "--quiet", "."],
    "format": [str(BIN / "ruff"), "format", "--check", "--quiet", "."],
    "imports": [str(BIN / "lint-imports"), "--no-cache"],
    "types": [str(BIN / "mypy")],
}
#: Each group is one run of pytest, and what its tests share is gone before the next: unit tests share nothing; those
#: of the second have stores of their own in each of two processes, for they wait more than they compute; the third
#: has a whole stack. Fault tests come after the others of theirs, for they leave broken records behind. The end-to-end
#: tests come last: the last of them takes the stack down.
GROUPS = {
    ("unit",): ("-n", "auto", "--dist", "loadfile"),
    ("integration", "faults"): ("-n", "2", "--dist", "loadfile"),
    ("browser", "e2e"): (),
}
SUITES = tuple(suite for group in GROUPS for suite in group)
#: Asked for by name, the suite runs whole; among all others only what a merge must pass.
WHOLE = ("faults", "e2e")
CHECKS_AT_ONCE = 2

Say = Callable[[str], None]


def run(arguments: Sequence[str], say: Say) -> int:
    """`lint`, a suite, or all; what follows goes to pytest. The exit code; 0 only if all passed."""
    wanted, options = _split(arguments)
    failures = []
    if wanted in ("lint", "all"):
        with ThreadPoolExecutor(CHECKS_AT_ONCE) as pool:
            passed = list(pool.map(lambda check: _passes(check[0], check[1], say), CHECKS.items()))
        failures += [name for name, well in zip(CHECKS, passed, strict=True) if not well]
    suites = [wanted] if wanted in SUITES else list(SUITES) if wanted == "all" else []
    if set(suites) - {"unit"}:
        install_jars()
    for group, spread in _groups(suites, options):
        folders = [str(PROJECT_ROOT / "tests" / suite) for suite in group]
        marked = ["-m", ""] if wanted in WHOLE else []
        command = [sys.executable, "-m", "pytest", *folders, *spread, *marked, *options]
        if not _passes(" + ".join(group), command, say):
            failures.append(f"tests ({', '.join(group)})")
    if failures:
        say(f"failed: {', '.join(failures)}")
    return 1 if failures else 0


def _groups(suites: list[str], options: Sequence[str]) -> list[tuple[list[str], Sequence[str]]]:
    """The runs, and how each is spread. What is chosen by options may be in any of them: then they are one run."""
    if options:
        return [(suites, ())] if suites else []
    chosen = {group: [suite for suite in group if suite in suites] for group in GROUPS}
    return [(chosen[group], spread) for group, spread in GROUPS.items() if chosen[group]]


def _split(arguments: Sequence[str]) -> tuple[str, list[str]]:
    names = ("lint", "all", *SUITES)
    if arguments and arguments[0] in names:
        return arguments[0], list(arguments[1:])
    if arguments and not arguments[0].startswith("-"):
        raise StackError(f"there are no {arguments[0]} tests; there are {', '.join(names)}")
    return "all", list(arguments)


def _passes(name: str, command: list[str], say: Say) -> bool:
    say(f"checking {name}")
    started = time.monotonic()
    # The tests make their own stacks: the settings of the caller's one must not reach them.
    own = {field.upper() for field in Settings.model_fields}
    environment = {key: value for key, value in os.environ.items() if key not in own}
    code = subprocess.run(command, cwd=PROJECT_ROOT, env=environment).returncode
    say(f"{name}: {'passed' if code == 0 else 'FAILED'} in {time.monotonic() - started:.0f} s")
    return code == 0
