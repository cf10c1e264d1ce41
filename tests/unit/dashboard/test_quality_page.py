"""The quality page on literal rows: every state in words, every part, the courses, and an outage."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from include.dashboard.charts.colours import colours
from include.dashboard.charts.pass_rate import pass_rate_figure
from include.dashboard.charts.symbol_course import symbol_course_figure
from include.dashboard.charts.symbol_strips import strips_figure
from include.dashboard.components.failing_checks import failing_checks
from include.dashboard.components.holdings import archive, quarantine
from include.dashboard.components.quality_changes import quality_changes
from include.dashboard.components.quality_state import airflow_run_url, quality_state
from include.dashboard.components.results_grid import grid_rows
from include.dashboard.components.symbol_measures import symbol_measures
from include.dashboard.quality_callbacks import checked_clock, drawn, symbol_courses
from include.dashboard.quality_view import REMEMBERED, Picture, QualityView
from include.dashboard.quality_words import overall, remark
from include.dashboard.selection import QualitySelection, parse_quality_selection
from tests.unit.dashboard.quality_twins import (
    AT,
    CHANGE,
    CHECK,
    HOLED,
    PASSED,
    RUN,
    UNDER_WAY,
    MemoryQuality,
    rate,
    series,
)
from tests.unit.dashboard.test_components import texts

SYMBOLS = ("AAPL", "BTC-USD")
AIRFLOW = "http://127.0.0.1:8080"
NEWEST = QualitySelection()
LATER = AT + timedelta(minutes=4)
DARK = colours("dark", True)


def picture(selection: QualitySelection = NEWEST, *runs: Any, now: datetime = LATER) -> Picture:
    reader = MemoryQuality(*(runs or (RUN,)))
    return QualityView(SYMBOLS, reader, AIRFLOW, clock=lambda: now).picture(selection)


@pytest.mark.parametrize(
    ("search", "expected"),
    [
        ("?run=manual-1&symbol=btc-usd&span=7d", QualitySelection("manual-1", "BTC-USD", "7d")),
        ("?symbol=NOPE&span=99d", NEWEST),
        ("?run=" + "x" * 251, NEWEST),
        ("?run=a%00b", NEWEST),
        ("?run=%3Cscript%3E", NEWEST),
        (None, NEWEST),
    ],
)
def test_the_address_holds_run_symbol_and_span(search: str | None, expected: QualitySelection) -> None:
    assert parse_quality_selection(search, SYMBOLS) == expected
    assert parse_quality_selection(expected.href().removeprefix("/quality"), SYMBOLS) == expected


def test_a_link_changes_one_part_of_the_address() -> None:
    chosen = QualitySelection("r", "AAPL", "7d")
    assert chosen.href(symbol=None) == "/quality?run=r&span=7d"
    assert chosen.href(run=None, symbol=None, span="24h") == "/quality"


@pytest.mark.parametrize(
    ("changes", "sign", "kind", "title"),
    [
        ({}, "✕", "bad", "1 critical check fails, 1 warning"),
        ({"failed_critical": 2, "failed_warning": 0}, "✕", "bad", "2 critical checks fail"),
        ({"failed_critical": 0, "failed_warning": 2}, "▲", "warn", "No critical check fails, 2 warnings"),
        ({"passed": 10, "failed_critical": 0, "failed_warning": 0}, "✓", "good", "All 10 checks pass"),
    ],
)
def test_the_state_is_one_line_with_a_sign(changes: dict[str, int], sign: str, kind: str, title: str) -> None:
    found = overall(picture(NEWEST, replace(RUN, **changes)), NEWEST)
    assert (found.sign, found.kind, found.title) == (sign, kind, title)
    assert "2026-03-02 14:00 UTC" in found.detail
    assert "2 suites, all symbols" in found.detail


def test_a_run_of_a_part_says_of_which() -> None:
    part = replace(RUN, suites=["candles"], symbols=["AAPL", "IBM"])
    assert overall(picture(NEWEST, part), NEWEST).detail.endswith("only candles, only AAPL, IBM")


def test_what_is_missing_says_why() -> None:
    nothing = QualityView(SYMBOLS, MemoryQuality(), AIRFLOW, clock=lambda: LATER)
    assert overall(nothing.picture(NEWEST), NEWEST).title == "Never checked yet"
    chosen = QualitySelection(run="nope")
    assert overall(picture(chosen), chosen).title == "There is no run nope"
    begun = AT + timedelta(minutes=12)
    first = picture(NEWEST, UNDER_WAY, now=begun)
    assert overall(first, NEWEST).title == "Never checked yet: the first run is under way"
    assert overall(replace(first, now=AT + timedelta(hours=2)), NEWEST).title.endswith("has broken off")
    linked = QualitySelection(run="next")
    assert overall(picture(linked, RUN, UNDER_WAY, now=begun), linked).title == "This run is under way"
    late = picture(linked, RUN, UNDER_WAY, now=AT + timedelta(hours=2))
    assert overall(late, linked).title == "This run has broken off"


def test_what_else_must_be_known_is_remarked() -> None:
    begun = AT + timedelta(minutes=12)
    assert remark(picture()) is None
    assert remark(picture(NEWEST, RUN, UNDER_WAY, now=begun)) == "A further run began at 14:10."
    assert "has broken off" in (remark(picture(NEWEST, RUN, UNDER_WAY, now=AT + timedelta(hours=1))) or "")
    assert "No run has finished for 2h" in (remark(picture(NEWEST, RUN, now=AT + timedelta(hours=2, minutes=1))) or "")
    assert "The database does not answer" in (remark(replace(picture(), reachable=False)) or "")


def test_the_run_leads_to_its_page_in_airflow() -> None:
    assert airflow_run_url(AIRFLOW, "manual__2026-03-02T14:00:00+00:00") == (
        "http://127.0.0.1:8080/dags/check_data_quality/runs/manual__2026-03-02T14%3A00%3A00%2B00%3A00"
    )
    shown = texts(quality_state(picture(), NEWEST, AIRFLOW))
    assert RUN.dag_run_id in shown
    assert "Newest run" not in shown
    older = QualitySelection(run=RUN.run_id)
    assert "Newest run" in texts(quality_state(picture(older), older, AIRFLOW))
    by_hand = replace(RUN, dag_run_id=None)
    assert " · run " not in texts(quality_state(picture(NEWEST, by_hand), NEWEST, AIRFLOW))


def test_a_failing_check_opens_to_reason_symbols_and_keys() -> None:
    (block,) = failing_checks(picture(), NEWEST)
    said = texts(block)
    assert said[:4] == ["✕", "candles_keys_unique", "critical · duplicates", "2 rows fail"]
    assert "A window has one candle." in said
    assert "Keys of the failing rows, 2 of 45" in said
    # As text: what stands in a key is never HTML.
    assert said[-3:] == ["AAPL", "2", "<b>X</b>"]
    measured = replace(CHECK, check_name="symbol_completeness", severity="warning", failing_keys=[])
    (block,) = failing_checks(replace(picture(), results=[measured, HOLED]), NEWEST)
    assert texts(block)[-2:] == ["AAPL", ": 61 of 70 minutes, 9 missing"]


def test_where_nothing_fails_or_nothing_is_there_the_page_says_which() -> None:
    calm = failing_checks(replace(picture(), results=[PASSED]), NEWEST)
    assert texts(calm) == ["No check fails", "all 1 of this run passed"]
    archived = failing_checks(replace(picture(), results=[]), NEWEST)
    assert texts(archived)[0] == "The results of this run are not in the database"
    assert texts(failing_checks(Picture(AT), NEWEST))[0] == "No results"
    under_way = picture(QualitySelection(run="next"), RUN, UNDER_WAY)
    assert texts(failing_checks(under_way, NEWEST))[0] == "No results yet"


def test_what_changed_is_told_in_both_words_and_once() -> None:
    of_symbol = replace(CHANGE, check_name="symbol_freshness", symbol="AAPL", observed_now="stale")
    of_check = replace(CHANGE, check_name="symbol_freshness")
    mended = replace(CHANGE, check_name="candles_finite", passed=True)
    shown = replace(picture(), changes=[CHANGE, of_check, of_symbol, mended])
    compared, listed = quality_changes(shown)
    assert texts(compared) == ["Compared with the run of 2026-03-01 14:00 UTC"]
    assert [texts(row) for row in listed.children] == [
        ["✕", "candles_keys_unique", " fails now", "Now: 2 rows fail", "Then: as expected"],
        ["✕", "symbol_freshness of AAPL", " fails now", "Now: stale", "Then: as expected"],
        ["✓", "candles_finite", " passes again", "Now: 2 rows fail", "Then: as expected"],
    ]
    assert texts(quality_changes(replace(picture(), changes=()))[1])[0] == "Nothing changed"
    assert texts(quality_changes(replace(picture(), before=None)))[0] == "Nothing to compare with"


def test_the_symbols_of_the_run_have_signs_and_words() -> None:
    said = texts(symbol_measures(picture(), NEWEST))
    assert said[4:] == ["AAPL", "✓", "last event 13:59:19, 41 s of trading ago", "▲", "61 of 70 minutes, 9 missing"]
    assert "all symbols" in texts(symbol_measures(picture(), QualitySelection(symbol="AAPL")))
    assert texts(symbol_measures(replace(picture(), results=[PASSED]), NEWEST))[0].startswith("No symbol")


def test_the_grid_keeps_the_order_and_has_a_sign_in_each_row() -> None:
    rows = grid_rows(picture())
    assert [row["state"] for row in rows] == ["✕ critical", "▲ warning", "✓ passed", "✓ passed"]
    assert rows[1]["check"] == "symbol_completeness of AAPL"
    assert len({row["id"] for row in rows}) == len(rows)


def test_quarantine_and_archive_are_counted() -> None:
    held = texts(quarantine(picture()))
    assert held[0].startswith("1 of 3 held")
    assert "yahoo:AAPL:bar60:0 (revision 1)" in held
    assert texts(quarantine(replace(picture(), held=(), held_count=0)))[0] == "Nothing is held"
    assert texts(archive(picture()))[-7:] == ["market_events", "2026-03-02", "7", "23", "300", "1,000,000", "42 MB"]
    assert texts(archive(replace(picture(), archive=())))[0] == "No day yet"


def test_the_pass_rate_tells_states_by_shape_and_rings_the_chosen_run() -> None:
    figure = pass_rate_figure([rate(), rate(warnings=1, minutes=10), rate(1, 1, 20)], "run-20", DARK)
    line, passed, warned, failed, ring = figure["data"]
    assert line["y"] == [100.0, 90.0, 80.0]
    assert [trace["marker"]["symbol"] for trace in (passed, warned, failed)] == ["circle", "triangle-up", "x"]
    assert [trace["customdata"] for trace in (passed, warned, failed)] == [["run-0"], ["run-10"], ["run-20"]]
    assert ring["y"] == [80.0]
    assert figure["layout"]["annotations"] == []
    assert pass_rate_figure((), None, DARK)["layout"]["annotations"][0]["text"] == "No run in this span"
    assert pass_rate_figure([rate()], None, DARK)["layout"]["yaxis"]["range"] == [97.76, 100.24]


def test_a_strip_has_a_row_a_symbol_a_hole_where_nothing_was_measured_and_a_cross_where_it_failed() -> None:
    points = [
        series(),
        series(False, at=AT + timedelta(minutes=20), measured=900.0),
        series(symbol="BTC-USD", measured=300.0),
        series(dimension="completeness"),
    ]
    figure = strips_figure(points, "freshness", ["AAPL", "BTC-USD"], DARK)
    cells, crosses = figure["data"]
    assert cells["z"] == [[0.137, 2.0], [1.0, None]]
    assert "15 min of trading since the last event" in cells["text"][0][1]
    assert (crosses["x"], crosses["y"]) == (["2026-03-02T14:20:00"], ["AAPL"])
    assert crosses["marker"]["symbol"] == "x-thin"
    assert figure["layout"]["yaxis"]["categoryarray"] == ["BTC-USD", "AAPL"]
    assert figure["layout"]["xaxis"]["range"] == ["2026-03-02T13:50:00", "2026-03-02T14:30:00"]
    shades = strips_figure([series(dimension="completeness", measured=0.99)], "completeness", ["AAPL"], DARK)
    assert shades["data"][0]["z"] == [[0.2]]


def test_the_first_run_is_shown_on_an_axis_of_minutes() -> None:
    strips = strips_figure([series()], "freshness", ["AAPL"], DARK)
    edges = ["2026-03-02T13:55:00", "2026-03-02T14:05:00"]
    assert (strips["data"][0]["x"], strips["layout"]["xaxis"]["range"]) == (edges, edges)
    for figure in (pass_rate_figure([rate()], None, DARK), symbol_course_figure([series()], DARK)):
        assert figure["layout"]["xaxis"]["range"] == ["2026-03-02T13:45:00", "2026-03-02T14:15:00"]
    assert "range" not in pass_rate_figure([], None, DARK)["layout"]["xaxis"]


def test_the_course_of_one_symbol_is_in_minutes_and_per_cent() -> None:
    figure = symbol_course_figure([series(False, measured=600.0), series(dimension="completeness", measured=0.9)], DARK)
    fresh, stale, complete, holes = figure["data"]
    assert (fresh["y"], stale["y"], complete["y"], holes["y"]) == ([10.0], [10.0], [90.0], [])
    assert figure["layout"]["yaxis2"]["range"] == [89.0, 100.5]


def test_the_symbols_are_strips_or_one_course() -> None:
    strips = symbol_courses(picture(), NEWEST, DARK)
    assert [each.children[1].id for each in strips] == ["freshness-strip", "completeness-strip"]
    chosen = QualitySelection(symbol="AAPL")
    assert symbol_courses(picture(chosen), chosen, DARK).id == "symbol-course"
    assert texts(symbol_courses(replace(picture(), series=()), NEWEST, DARK))[0].startswith("No measure")


def test_an_outage_keeps_what_was_known_and_says_so() -> None:
    reader = MemoryQuality(RUN)
    view = QualityView(SYMBOLS, reader, AIRFLOW, clock=lambda: LATER)
    before = view.picture(NEWEST)
    reader.up = False
    after = view.picture(NEWEST)
    assert (before.reachable, after.reachable) == (True, False)
    assert replace(after, reachable=True) == before
    assert overall(after, NEWEST) == overall(before, NEWEST)
    assert checked_clock(after) == {**checked_clock(before), "reachable": False}
    unseen = QualitySelection(span="7d")
    assert overall(view.picture(unseen), unseen).title == "The database does not answer"
    reader.up = True
    assert view.picture(unseen).reachable


def test_what_is_not_known_is_not_told_as_nothing() -> None:
    reader = MemoryQuality(RUN)
    reader.up = False
    unknown = QualityView(SYMBOLS, reader, AIRFLOW, clock=lambda: LATER).picture(NEWEST)
    _, rates, changes, failing, courses, measures, rows, held, days = drawn(unknown, NEWEST, DARK, AIRFLOW)
    assert rates["layout"]["annotations"][0]["text"] == "Not known"
    assert {each.className for each in (changes, failing, courses, held, days)} == {"notice trouble"}
    assert (measures, rows) == (None, [])
    known = drawn(picture(), NEWEST, DARK, AIRFLOW)
    assert len(known) == 9
    assert texts(known[7])[0].startswith("1 of 3 held")


def test_only_the_selections_asked_for_last_are_remembered() -> None:
    reader = MemoryQuality(RUN)
    view = QualityView(SYMBOLS, reader, AIRFLOW, clock=lambda: LATER)
    view.picture(NEWEST)
    for number in range(REMEMBERED):
        view.picture(QualitySelection(run=f"r{number}"))
    reader.up = False
    assert view.picture(QualitySelection(run="r0")).is_known
    assert not view.picture(NEWEST).is_known


def test_nothing_is_drawn_anew_while_nothing_is_new() -> None:
    same = picture(now=LATER + timedelta(seconds=5))
    assert same.version == picture().version
    assert picture(NEWEST, replace(RUN, passed=7)).version != same.version
    assert replace(same, reachable=False).version != same.version


def test_a_span_is_asked_for_in_whole_steps_until_the_one_that_is_on() -> None:
    reader = MemoryQuality(RUN)
    view = QualityView(SYMBOLS, reader, AIRFLOW, clock=lambda: LATER)
    view.picture(NEWEST)
    view.picture(QualitySelection(span="7d"))
    day, week = reader.asked
    assert day == (AT + timedelta(minutes=10) - timedelta(days=1), AT + timedelta(minutes=10), 144)
    assert week[1] - week[0] == timedelta(days=7)
    assert all(edge.minute == 0 for edge in week[:2])


def test_the_clock_counts_from_the_end_of_the_newest_run() -> None:
    assert checked_clock(picture())["newest"] == int((AT + timedelta(seconds=9)).timestamp() * 1000)
    assert checked_clock(Picture(AT))["newest"] is None
