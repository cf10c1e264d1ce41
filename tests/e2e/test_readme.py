"""The README's commands do what it says."""

from __future__ import annotations

import re
import shlex

import pytest

from include.settings import PROJECT_ROOT
from tests.conftest import RunningStack

README = (PROJECT_ROOT / "README.md").read_text(encoding="utf-8")
LINES = [
    shlex.split(line, comments=True)
    for block in re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
    for line in block.splitlines()
    if line.strip()
]
#: Their effect is proven by tests of their own; here it is enough that they are spelled right.
PROVEN_ELSEWHERE = {"up", "down", "test", "restart", "quality", "lineage"}


@pytest.mark.parametrize("line", LINES, ids=" ".join)
def test_a_command_of_the_readme_works(stack: RunningStack, line: list[str]) -> None:
    program, verb, *arguments = line
    assert program == "./pipeline"
    answer = stack.run("--help") if verb in PROVEN_ELSEWHERE else stack.run(verb, *arguments)
    assert answer.returncode == 0, answer.stderr
    assert verb in answer.stdout if verb in PROVEN_ELSEWHERE else answer.stdout.strip()
