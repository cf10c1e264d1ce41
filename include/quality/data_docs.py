"""Data Docs on disk: the pages that Great Expectations renders, one page a run in words, and no more than so many."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from jinja2 import Environment, FileSystemLoader

from include.quality.suites import FOLDER

if TYPE_CHECKING:
    from include.quality.run import Report
    from include.storage.quality_store import Result

SITE = "data_docs"
VALIDATIONS = "validations"
RUNS = "runs"
_TEMPLATES = FOLDER / "plugins" / "custom_data_docs"


def folder_of(state_dir: Path) -> Path:
    """Where results and pages of a market are kept."""
    return state_dir / "quality"


def slug(name: str) -> str:
    """A run's name as a file's: letters, digits and dashes."""
    return re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-")


class Docs:
    """The reports under `folder`, of the newest `runs_kept` runs."""

    def __init__(self, folder: Path, runs_kept: int) -> None:
        self._folder = folder
        self._kept = runs_kept

    def prune(self) -> list[str]:
        """Make room for one more run; the names of those that went. Their results stay in the database."""
        pages = sorted((self._folder / RUNS).glob("*.html"), key=lambda page: page.stat().st_mtime, reverse=True)
        kept = {page.stem for page in pages[: self._kept - 1]}
        gone = {page.stem for page in pages} - kept
        for page in pages:
            if page.stem in gone:
                page.unlink()
        for part in (self._folder / VALIDATIONS, self._folder / SITE / VALIDATIONS):
            # <suite>/<part>/<run name>; what broke off has no page of its own and goes as well.
            for stored in part.glob("*/*/*"):
                if stored.name not in kept:
                    shutil.rmtree(stored)
        return sorted(gone)

    def publish(self, report: Report) -> Path:
        """Write the run's page."""
        page = self._folder / RUNS / f"{report.request.run_id}.html"
        page.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        page.write_text(render(report), encoding="utf-8")
        return page


def render(report: Report) -> str:
    """The run's page. It shows keys of rows, and no figure of theirs."""
    measured = sorted(
        (each for each in report.results if each.symbol is not None), key=lambda each: (each.passed, each.symbol)
    )
    since, until = report.request.covered
    return (
        Environment(loader=FileSystemLoader([_TEMPLATES / "views", _TEMPLATES / "styles"]), autoescape=True)
        .get_template("run_page.j2")
        .render(
            since=f"{since:%Y-%m-%d %H:%M}",
            until=f"{until:%Y-%m-%d %H:%M}",
            symbols=", ".join(report.request.symbols) if report.request.symbols else "all symbols",
            docs_index=f"../{SITE}/index.html",
            critical=report.failed("critical"),
            warnings=report.failed("warning"),
            summary=report.summary()["summary"],
            measured=measured,
            details=_failed_symbols(measured),
            suites=list(_by_suite(report)),
        )
    )


def _failed_symbols(measured: list[Result]) -> dict[str, list[str]]:
    told: dict[str, list[str]] = {}
    for each in measured:
        if not each.passed:
            told.setdefault(each.check_name, []).append(f"{each.symbol}: {each.observed}")
    return told


def _by_suite(report: Report) -> Iterable[tuple[str, int, int]]:
    for suite in dict.fromkeys(each.suite for each in report.checks):
        checks = [each for each in report.checks if each.suite == suite]
        yield suite, sum(each.passed for each in checks), len(checks)
