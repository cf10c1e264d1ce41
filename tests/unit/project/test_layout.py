"""Rules of the tree that no linter knows."""

from __future__ import annotations

import re

import yaml

from include.settings import PROJECT_ROOT
from include.stack.test_runner import CHECKS
from tests.unit.project.files import project_files

#: In halves, so that this file does not name what it looks for.
REGISTRY_HOSTS = [
    *(f"{name}.{top}" for name, top in (("pypi", "org"), ("pythonhosted", "org"), ("crates", "io"))),
    *(f"{name}.{top}" for name, top in (("maven", "org"), ("npmjs", "org"), ("debian", "org"))),
    *(f"{name}.{top}" for name, top in (("maven.apache", "org"), ("golang", "org"), ("conda", "anaconda.org"))),
]
#: The lock carries the addresses that it was made with; the jar installer has its one default.
MAY_NAME_A_REGISTRY = {"uv.lock", "include/stack/jars.py"}


def test_no_file_names_the_host_of_a_package_registry() -> None:
    # A mirror is a matter of settings: UV_DEFAULT_INDEX, PIP_INDEX_URL, MAVEN_REPOSITORY_URL.
    wanted = re.compile("|".join(re.escape(host) for host in REGISTRY_HOSTS))
    found = {}
    for path in project_files():
        name = path.relative_to(PROJECT_ROOT).as_posix()
        match = wanted.search(path.read_bytes().decode("utf-8", errors="ignore"))
        if match:
            found[name] = match[0]
    assert set(found) <= MAY_NAME_A_REGISTRY, found
    # Both do name one: the search works.
    assert set(found) == MAY_NAME_A_REGISTRY


def test_the_folder_of_the_data_checks_is_no_package() -> None:
    # With an __init__.py it would shadow the library of the same name.
    names = [path.relative_to(PROJECT_ROOT).as_posix() for path in project_files()]
    assert not [name for name in names if re.match(r"great_expectations/(.*/)?__init__\.py", name)]


def test_pre_commit_runs_the_checks_of_the_test_command_from_the_locked_environment() -> None:
    document = yaml.safe_load((PROJECT_ROOT / ".pre-commit-config.yaml").read_text())
    assert [repository["repo"] for repository in document["repos"]] == ["local"]
    hooks = document["repos"][0]["hooks"]
    assert all(hook["language"] == "system" for hook in hooks)
    programs = {hook["entry"].split()[0] for hook in hooks}
    assert programs == {command[0].rpartition("/")[2] for command in CHECKS.values()}
