from __future__ import annotations

import re
from fnmatch import fnmatchcase
from pathlib import PurePosixPath

import pytest

from include.settings import PROJECT_ROOT
from tests.unit.project.files import compose_services, dockerfile, is_ours

COPIES = [
    source
    for instruction, rest in dockerfile()
    if instruction == "COPY" and "--from=" not in rest
    for source in rest.split()[:-1]
]


def in_build_context(name: str) -> bool:
    """Whether .dockerignore lets a path in: the last rule that fits it, or a folder above it, decides."""
    path = PurePosixPath(name)
    levels = [path.as_posix(), *(parent.as_posix() for parent in path.parents)]
    inside = True
    for line in (PROJECT_ROOT / ".dockerignore").read_text().splitlines():
        rule = line.removeprefix("!").removeprefix("**/")
        if rule and not rule.startswith("#") and any(_fits(level, rule, "**/" in line) for level in levels):
            inside = line.startswith("!")
    return inside


def _fits(path: str, rule: str, anywhere: bool) -> bool:
    if anywhere:
        return PurePosixPath(path).match(rule)
    # A star of .dockerignore does not cross a slash.
    return path.count("/") == rule.count("/") and fnmatchcase(path, rule)


@pytest.mark.parametrize("source", COPIES)
def test_what_is_copied_exists_and_is_in_the_build_context(source: str) -> None:
    assert (PROJECT_ROOT / source).exists()
    assert in_build_context(source)


@pytest.mark.parametrize(
    "private",
    ["docker/secrets/redis", ".env", "include/.env", ".pipeline/live/stack.env", ".git/config", "include/x.pyc"],
)
def test_secrets_state_and_history_are_outside_the_build_context(private: str) -> None:
    assert not in_build_context(private)


def test_every_package_of_ours_is_in_the_image() -> None:
    packages = {path.parent.name for path in PROJECT_ROOT.glob("*/__init__.py")} - {"tests", "benchmarks"}
    assert {f"{package}/" for package in packages} | {"config/", "dags/"} <= set(COPIES)


def test_every_argument_that_is_used_is_declared_in_its_stage() -> None:
    declared_first: set[str] = set()
    declared: set[str] | None = None
    for instruction, rest in dockerfile():
        if instruction == "FROM":
            used, declared = set(re.findall(r"\$\{(\w+)\}", rest)), set()
            assert used <= declared_first
        elif instruction == "ARG":
            (declared_first if declared is None else declared).add(rest.partition("=")[0])
        elif instruction == "RUN":
            assert declared is not None
            assert set(re.findall(r"\$\{(\w+)\}", rest)) <= declared


def test_the_arguments_that_compose_passes_are_declared() -> None:
    declared = {rest.partition("=")[0] for instruction, rest in dockerfile() if instruction == "ARG"}
    for service in compose_services().values():
        if is_ours(service):
            assert set(service["build"]["args"]) <= declared


def test_the_final_image_does_not_run_as_root_and_holds_no_secret() -> None:
    users = [rest for instruction, rest in dockerfile() if instruction == "USER"]
    assert users[-1] == "platform"
    after = [instruction for instruction, _rest in dockerfile()]
    assert after.index("USER") > max(index for index, name in enumerate(after) if name in ("RUN", "COPY"))
    environment = " ".join(rest for instruction, rest in dockerfile() if instruction == "ENV")
    assert not re.search(r"(?i)(password|secret|token|_key)=", environment)


def test_the_project_is_on_the_python_path_where_it_is_copied_to() -> None:
    workdir = [rest for instruction, rest in dockerfile() if instruction == "WORKDIR"]
    environment = dict(
        pair.split("=", 1) for instruction, rest in dockerfile() if instruction == "ENV" for pair in rest.split()
    )
    assert set(workdir) == {environment["PYTHONPATH"]} == {"/app"}
    assert environment["PATH"].startswith("/app/.venv/bin:")


def test_entry_point_and_default_command_exist() -> None:
    last = {instruction: rest for instruction, rest in dockerfile()}
    for name in re.findall(r'"(?:/app/)?(docker/[\w.]+)"', last["ENTRYPOINT"] + last["CMD"]):
        assert (PROJECT_ROOT / name).is_file()
        assert name in COPIES
