"""`./pipeline quality` on literal rows; the command itself is run in tests/integration/test_quality_reads.py."""

from __future__ import annotations

import json
from dataclasses import replace

from rich.console import Console

from include.commands.quality import as_document, render
from include.storage.quality_rows import CheckResult, Run
from tests.unit.dashboard.quality_twins import CHECK, FRESH, HOLED, PASSED, RUN


def printed(run: Run, results: list[CheckResult]) -> list[str]:
    console = Console(width=160)
    with console.capture() as captured:
        console.print(render(run, results))
    return [line.rstrip() for line in captured.get().splitlines()]


def test_failing_checks_come_first_then_what_passed_then_the_symbols() -> None:
    lines = printed(RUN, [CHECK, HOLED, FRESH, PASSED])
    assert lines[:2] == ["8 of 10 checks passed", "scheduled-2026-03-02, finished 2026-03-02 14:00:09 UTC"]
    heads = [
        next(place for place, line in enumerate(lines) if word in line) for word in ("failing check", "suite", "symbol")
    ]
    assert heads == sorted(heads)
    (failing,) = [line for line in lines if "candles_keys_unique" in line]
    assert " ".join(failing.split()) == "✕ critical candles_keys_unique duplicates 2 rows fail every key once 45"
    assert "candles  1       2   schema 1" in lines
    assert "AAPL    ✓ last event 13:59:19, 41 s of trading ago  ▲ 61 of 70 minutes, 9 missing" in lines


def test_without_a_failing_check_there_is_no_table_of_them() -> None:
    assert not [line for line in printed(RUN, [PASSED]) if "failing check" in line]


def test_words_in_brackets_are_no_markup() -> None:
    assert any("[red]x" in line for line in printed(RUN, [replace(CHECK, observed="[red]x")]))


def test_the_document_is_json_with_the_rate() -> None:
    document = json.loads(json.dumps(as_document(RUN, [CHECK]), default=str))
    assert document["run"]["pass_rate"] == 0.8
    assert document["results"][0]["failing_keys"] == CHECK.failing_keys
