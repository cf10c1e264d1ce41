"""`./pipeline quality`: what the newest run of the checks found, or a run that is named."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated, Any

import typer
from rich.console import Group
from rich.markup import escape
from rich.table import Table

from include.commands.console import one_line_errors, out, say
from include.errors import MarketDataError
from include.settings import required, settings
from include.storage.quality_reads import QualityReader
from include.storage.quality_rows import CheckResult, Run

_COLOURS = {"critical": "red", "warning": "yellow", "info": "blue"}
_SIGNS = {"critical": "✕", "warning": "▲", "info": "●"}
NEVER = "nothing was checked yet: check_data_quality runs every ten minutes once the stack is up, or trigger it"


def quality(
    as_json: Annotated[bool, typer.Option("--json", help="for programs")] = False,
    run: Annotated[str | None, typer.Option(metavar="RUN", help="this run; else the newest that has finished")] = None,
) -> None:
    """What the quality checks found: failing ones first, each symbol; exit code 1 if a critical one fails."""
    with one_line_errors():
        chosen = settings()
        reader = QualityReader(required(chosen.reader_database_url or chosen.database_url, "DATABASE_URL"))
        try:
            found = reader.newest_run() if run is None else reader.run(run)
            results = reader.results(found.run_id) if found else []
        finally:
            reader.close()
        if found is None:
            if as_json:
                print(json.dumps({"run": None, "results": []}))
            raise MarketDataError(
                NEVER if run is None else f"there is no run {run}; without --run, the newest is shown"
            )
    if as_json:
        print(json.dumps(as_document(found, results), indent=2, default=str))
    else:
        out.print(render(found, results))
        if found.finished_at is None:
            say("this run has not finished")
    if found.failed_critical:
        raise typer.Exit(1)


def as_document(run: Run, results: Sequence[CheckResult]) -> dict[str, Any]:
    """The run with its pass rate (0 to 1), and every result."""
    return {"run": {**asdict(run), "pass_rate": run.pass_rate}, "results": [asdict(each) for each in results]}


def render(run: Run, results: Sequence[CheckResult]) -> Group:
    """A headline, then the failing checks, what passed by suite, and the symbols."""
    finished = f"finished {run.finished_at:%Y-%m-%d %H:%M:%S} UTC" if run.finished_at else "not finished"
    headline = f"[bold]{escape(run.summary or 'no summary yet')}[/]\n{escape(run.run_id)}, {finished}\n"
    checks = [each for each in results if each.symbol is None]
    failing = [each for each in checks if not each.passed]
    parts: list[Any] = [headline]
    if failing:
        parts += [_failing(failing), ""]
    parts += [_passed(checks), "", _symbols([each for each in results if each.symbol is not None])]
    return Group(*parts)


def _failing(failing: Sequence[CheckResult]) -> Table:
    table = Table("", "failing check", "dimension", "observed", "expected", "rows", box=None, pad_edge=False)
    for each in failing:
        sign = f"[{_COLOURS[each.severity]}]{_SIGNS[each.severity]} {each.severity}[/]"
        words = (each.check_name, each.dimension, each.observed or "-", each.expected or "-")
        table.add_row(sign, *(escape(word) for word in words), f"{each.failing_rows:,}")
    return table


def _passed(checks: Sequence[CheckResult]) -> Table:
    """How many of each suite passed, by dimension."""
    table = Table("suite", "passed", "of", "by dimension", box=None, pad_edge=False)
    for suite in sorted({each.suite for each in checks}):
        of_suite = [each for each in checks if each.suite == suite]
        passed = Counter(each.dimension for each in of_suite if each.passed)
        listed = ", ".join(f"{dimension} {count}" for dimension, count in sorted(passed.items()))
        table.add_row(escape(suite), f"{passed.total()}", f"{len(of_suite)}", listed or "-")
    return table


def _symbols(measures: Sequence[CheckResult]) -> Table:
    table = Table("symbol", "freshness", "completeness", box=None, pad_edge=False)
    found = {(each.symbol, each.dimension): each for each in measures}
    for symbol in sorted({each.symbol for each in measures if each.symbol}):
        table.add_row(escape(symbol), *(_words(found.get((symbol, name))) for name in ("freshness", "completeness")))
    return table


def _words(measure: CheckResult | None) -> str:
    if measure is None:
        return "-"
    said = escape(measure.observed or "-")
    if measure.passed:
        return f"[green]✓[/] {said}"
    return f"[{_COLOURS[measure.severity]}]{_SIGNS[measure.severity]}[/] {said}"
