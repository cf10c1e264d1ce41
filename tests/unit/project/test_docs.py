from __future__ import annotations

import re
from pathlib import Path

import pytest
import typer

from include.cli import app
from include.settings import PROJECT_ROOT
from tests.unit.project.files import project_files

PAGES = sorted(path for path in project_files() if path.suffix == ".md")
_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


def named(path: Path) -> str:
    return path.relative_to(PROJECT_ROOT).as_posix()


def anchors(page: Path) -> set[str]:
    """The anchors that a Markdown viewer makes from the headings."""
    titles = _HEADING.findall(page.read_text())
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_links_inside_the_project_resolve(page: Path) -> None:
    for target in _LINK.findall(page.read_text()):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        file = (page.parent / name).resolve() if name else page
        assert file.exists(), f"{target} leads nowhere"
        assert file.is_relative_to(PROJECT_ROOT)
        if anchor and file.suffix == ".md":
            assert anchor in anchors(file), f"{target}: no such heading"


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_the_commands_that_are_told_exist(page: Path) -> None:
    known = set(typer.main.get_command(app).commands)  # type: ignore[attr-defined]
    told = set(re.findall(r"\./pipeline ([a-z][a-z-]*)", page.read_text()))
    assert told <= known


@pytest.mark.parametrize("page", sorted((PROJECT_ROOT / "docs" / "adr").glob("*.md")), ids=named)
def test_a_decision_record_has_its_parts(page: Path) -> None:
    text = page.read_text()
    number = int(page.name[:4])
    assert text.startswith(f"# {number}. ")
    assert re.search(r"^Status: (proposed|accepted|superseded)", text, re.MULTILINE)
    for part in ("Context", "Decision", "Consequences"):
        assert f"\n## {part}\n" in text


def test_the_architecture_page_leads_to_every_decision_record() -> None:
    text = (PROJECT_ROOT / "docs" / "ARCHITECTURE.md").read_text()
    for record in (PROJECT_ROOT / "docs" / "adr").glob("*.md"):
        assert f"(adr/{record.name})" in text
