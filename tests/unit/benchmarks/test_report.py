"""The page and the tables, from a result that is written down here."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from rich.console import Console

from benchmarks import stream
from benchmarks.stream_parts.page import page
from include.errors import MarketDataError

HALF = {"records": 500_000, "seconds": 10.0, "per_second": 50_000, "per_cpu_second": 25_000}
OURS = {**HALF, "cpu_seconds": {"driver": 15.0, "postgres": 5.0, "redis": 0.1, "kafka": 2.0}}
THEIRS = {**HALF, "per_cpu_second": 20_000, "cpu_seconds": {"quix": 25.0}}
WAITS = {"count": 9, "p50": 400.0, "p90": 800.0, "p99": 1_234.0, "p99.9": 1_400.0, "max": 1_500.0}
CURVE = [[0.0, 100.0], [50.0, 400.0], [99.0, 1_234.0], [99.99, 1_500.0]]
RATIOS = {f"per_{unit}_{half}": 1.25 for unit in ("second", "cpu_second") for half in ("all", "warm")}


def run(half: dict[str, Any]) -> dict[str, Any]:
    return {"start_seconds": 9.0, "start_cpu_seconds": 12.0, "all": half, "warm": half}


def part(**more: Any) -> dict[str, Any]:
    return {"at": "2026-11-20T10:00:00+00:00", "took_seconds": 61, **more}


RESULT: dict[str, Any] = {
    "machine": {"cpus": 2, "processor": "x86_64", "memory_gib": 24},
    "commit": "abc1234",
    "parts": {
        "drain": part(
            does={"driver": "everything & more", "quix": "candles <only>"},
            aims={"driver/quix": 8.0},
            missing=[],
            sizes=[{"records": 1_000_200, "runs": {"driver": [run(OURS)], "quix": [run(THEIRS)]},
                    "ratios": {"driver/quix": RATIOS}}],
        ),
        "raw": part(
            rows=500_000,
            batch=50_000,
            runs={side: [{"rows_per_second": rate}] for side, rate in (("sink", 90_000), ("rows", 100_000))},
            medians={side: {"rows_per_second": rate, "rows_per_cpu_second": rate}
                     for side, rate in (("sink", 90_000), ("rows", 100_000))},
            ratios={"sink/rows": {"rows_per_second": 0.9, "rows_per_cpu_second": 0.9}},
            aims={"sink/rows": 0.85},
        ),
        "latency": part(
            aim_p99_ms=1_500,
            poll_ms=2.0,
            rates=[{"rate": 10_000, "redis": {**WAITS, "curve": CURVE}, "postgres": {**WAITS, "curve": CURVE}}],
            steps=[{"rate": 20_000, "backlog": [[0.5, 9_000], [1.0, 9_500]], "worst_backlog_seconds": 0.5,
                    "sustained": True}],
            highest_sustained=20_000,
        ),
        "growth": part(
            aims={"symbols": 0.1, "history": 0.06},
            symbols=[{"symbols": size, "cpu_us_per_event": [cost], "batch_seconds": [1.0], "warm": OURS}
                     for size, cost in ((10, 30.0), (100, 33.0))],
            history=[],
            fits={"symbols": {"cpu_us_per_event": {"slope": 0.041, "low": None, "high": None, "intercept": 1.436,
                                                   "points": 2}}},
        ),
    },
}  # fmt: skip


def test_the_page_asks_nothing_of_the_network_and_has_all_pictures() -> None:
    text = page(RESULT)
    outside = [url for url in re.findall(r"""(?:https?:)?//[^\s"'<>]+""", text) if "www.w3.org" not in url]
    assert outside == []
    assert not re.search(r"<(script|link|img|iframe)\b|@import|url\((?!#)", text)
    pictures = re.findall(r"<svg.*?</svg>", text, re.DOTALL)
    assert len(pictures) == 6  # two of the drain, two of the waits, one each of the others
    for picture in pictures:
        ElementTree.fromstring(picture)
        assert "currentColor" in picture


def test_every_axis_is_named_with_its_unit() -> None:
    text = page(RESULT)
    for words in (
        *("events per CPU second", "CPU seconds per million events", "rows per second", "percentile"),
        *("milliseconds from due to seen", "backlog, seconds of events", "CPU microseconds per event"),
    ):
        assert f">{words}</text>" in text


def test_the_figures_stand_in_the_tables_and_words_are_escaped() -> None:
    text = page(RESULT)
    for cell in ("ratio driver/quix (aim 8)", "1.25 x", "25,000", "0.90 x", "1,234", "worst 0.5 s", "0.04"):
        assert f"{cell}</td>" in text
    assert "everything &amp; more" in text
    assert "candles &lt;only&gt;" in text


def test_a_part_that_failed_is_said_and_the_others_are_shown() -> None:
    text = page(RESULT | {"parts": RESULT["parts"] | {"drain": {"at": "now", "failed": "no broker"}}})
    assert "Not measured: no broker" in text
    assert text.count("<svg") == 4


def test_the_tables_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    stream.show(RESULT, Console(width=160))
    said = capsys.readouterr().out
    assert "Highest steady rate tried with a bounded backlog: 20,000 events/s." in said
    assert "ratio sink/rows (aim 0.85)" in said


def test_a_part_measured_alone_takes_the_place_of_its_older_self(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "RESULTS", tmp_path)
    stream.save(RESULT)
    stream.save(RESULT | {"parts": {"raw": part(failed="no disk")}})
    kept = json.loads((tmp_path / "stream.json").read_text())["parts"]
    assert kept["raw"]["failed"] == "no disk"
    assert set(kept) == set(RESULT["parts"])
    assert "no disk" in (tmp_path / "stream.html").read_text()


def test_options_choose_parts_and_sizes() -> None:
    all_parts = stream.chosen([])
    assert (all_parts.parts, all_parts.events) == (list(stream.PARTS), [1_000_000, 2_000_000])
    some = stream.chosen(["growth", "--quick", "drain", "--events", "1000,2000", "--rounds", "2"])
    assert (some.parts, some.events, some.rounds, some.seconds) == (["drain", "growth"], [1_000, 2_000], 2, 10)


@pytest.mark.parametrize("options", [["dran"], ["--evnts", "1"], ["--events", "many"]])
def test_what_is_not_known_is_refused(options: list[str]) -> None:
    with pytest.raises(MarketDataError, match="bench stream"):
        stream.chosen(options)
