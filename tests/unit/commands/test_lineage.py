"""`./pipeline lineage` on literal rows; the command itself is run in tests/integration/test_lineage_reads.py."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

from rich.console import Console

from include.commands.lineage import render
from include.storage.lineage_rows import JudgedEvent, Lineage, PlacedEvent
from tests.unit.dashboard.lineage_twins import BATCH, LINEAGE, RUN, TOPIC, row


def printed(found: Lineage) -> list[str]:
    console = Console(width=200)
    with console.capture() as captured:
        console.print(render(found))
    return [" ".join(line.split()) for line in captured.get().splitlines()]


def test_the_candle_then_events_batches_backfills_and_runs() -> None:
    lines = printed(LINEAGE)
    assert lines[:2] == [
        "AAPL 1m 2026-03-02 14:30 UTC: open 101, high 102.25, low 100.5, close 101.75, volume 1200",
        "1 events, closed by yahoo, final, last changed 2026-03-02 14:31:01",
    ]
    assert "✕ yahoo:AAPL:bar60:0 14:30:00.000 0 101.5 1200 1/40 7 03-02 14:31:02 revision 1 counts" in lines
    assert "✓ yahoo:AAPL:bar60:0 14:30:00.000 1 101.75 1200 backfill - 03-02 14:31:02" in lines
    assert "7 events_stock 0b5e7f1e 3 1: 38-41 1 03-02 14:31:04 0.1.0+gabc.def" in lines
    assert "manual__1 yahoo 0 1 03-03 14:30:00" in lines
    assert "run-1 03-02 14:39:00 99 1 0 critical: candles_high_low: 1 row fails not written down" in lines
    assert lines[-1] == "▲ events without a Kafka offset came by a backfill, not by the stream"
    heads = ("event (1 superseded, 1 used)", "batch query", "backfill of that day", "quality run (1 of 8)")
    places = [next(place for place, line in enumerate(lines) if line.startswith(head)) for head in heads]
    assert places == sorted(places)


def test_of_thousands_of_events_those_left_out_are_shown_first() -> None:
    used = [PlacedEvent(JudgedEvent(row(event_id=f"trade:{n}"), "used"), TOPIC, BATCH) for n in range(500)]
    late = PlacedEvent(JudgedEvent(row(event_id="late:1"), "quarantined", "held by a check"), TOPIC, BATCH)
    lines = printed(replace(LINEAGE, events=(*used, late)))
    assert any(line.startswith("✕ late:1") for line in lines)
    assert sum(line.startswith("✓ trade:") for line in lines) == 59
    assert "... and 441 more: --json has all" in lines


def test_where_nothing_is_known_that_is_said() -> None:
    lines = printed(replace(LINEAGE, events=(), batches=(), backfills=(), runs=(), runs_total=0, notes=()))
    assert "none has looked at it yet" in lines
    assert "none" in lines
    assert not [line for line in lines if line.startswith("backfill")]


def test_runs_that_found_something_come_before_those_that_did_not() -> None:
    quiet = [replace(RUN, run_id=f"quiet-{n}", findings=()) for n in range(9)]
    lines = printed(replace(LINEAGE, runs=(*quiet, RUN)))
    runs = [line.split()[0] for line in lines if line.startswith(("run-", "quiet-"))]
    assert runs == ["run-1", "quiet-0", "quiet-1", "quiet-2", "quiet-3"]


def test_figures_have_no_exponent_and_words_in_brackets_are_no_markup() -> None:
    tiny = PlacedEvent(JudgedEvent(row(close=Decimal("1E-8")), "quarantined", "[red]held"), TOPIC, BATCH)
    lines = printed(replace(LINEAGE, events=(tiny,)))
    assert any("0.00000001" in line and line.endswith("[red]held") for line in lines)
