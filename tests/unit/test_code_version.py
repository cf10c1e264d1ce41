"""What a process says of the code that it runs, for trees with and without a checkout."""

from __future__ import annotations

from pathlib import Path

import pytest

from include.code_version import code_version, version_of

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    (root / "include" / "deep").mkdir(parents=True)
    (root / "spark_jobs").mkdir()
    (root / "pyproject.toml").write_text('[project]\nversion = "1.2.3"\n')
    (root / "include" / "deep" / "one.py").write_text("one = 1\n")
    (root / "spark_jobs" / "two.py").write_text("two = 2\n")
    return root


def test_without_a_checkout_it_is_the_content(tree: Path) -> None:
    before = version_of(tree)
    assert before.startswith("1.2.3+")
    assert len(before) == len("1.2.3+") + 8
    (tree / "include" / "notes.txt").write_text("no code")
    assert version_of(tree) == before
    (tree / "spark_jobs" / "two.py").write_text("two = 3\n")
    changed = version_of(tree)
    assert changed != before
    (tree / "spark_jobs" / "two.py").rename(tree / "spark_jobs" / "three.py")
    assert version_of(tree) not in (before, changed)


@pytest.mark.parametrize("place", ["loose", "packed", "detached"])
def test_a_checkout_adds_its_commit_wherever_git_keeps_it(tree: Path, place: str) -> None:
    bare, git = version_of(tree), tree / ".git"
    (git / "refs" / "heads").mkdir(parents=True)
    (git / "HEAD").write_text(f"{COMMIT}\n" if place == "detached" else "ref: refs/heads/main\n")
    if place == "loose":
        (git / "refs" / "heads" / "main").write_text(f"{COMMIT}\n")
    if place == "packed":
        lines = f"# pack-refs with: peeled\n{COMMIT[::-1]} refs/heads/other/main\n{COMMIT} refs/heads/main\n"
        (git / "packed-refs").write_text(lines)
    assert version_of(tree) == f"1.2.3+g0123456789ab.{bare.removeprefix('1.2.3+')}"


def test_a_further_work_tree_finds_its_own_head(tree: Path, tmp_path: Path) -> None:
    home = tmp_path / "main" / ".git"
    own = home / "worktrees" / "tree"
    own.mkdir(parents=True)
    (home / "refs" / "heads").mkdir(parents=True)
    (home / "refs" / "heads" / "work").write_text(f"{COMMIT}\n")
    (own / "HEAD").write_text("ref: refs/heads/work\n")
    (own / "commondir").write_text("../..\n")
    (tree / ".git").write_text(f"gitdir: {own}\n")
    assert "+g0123456789ab." in version_of(tree)


def test_a_branch_without_a_commit_has_none(tree: Path) -> None:
    (tree / ".git").mkdir()
    (tree / ".git" / "HEAD").write_text("ref: refs/heads/main\n")
    assert "+g" not in version_of(tree)


def test_a_process_has_one_for_all_its_time() -> None:
    assert code_version() is code_version()
