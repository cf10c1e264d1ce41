"""The suites of the project as they stand, and what is bound into their SQL."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import get_args

import pytest

from include.errors import SettingsError
from include.operators.quality import SUITES
from include.quality.suites import FOLDER, Dimension, Scope, load_suites, select

SCOPE = Scope(datetime(2025, 11, 28, tzinfo=UTC), datetime(2025, 11, 29, tzinfo=UTC))


def test_each_table_has_a_suite_and_each_dimension_a_check() -> None:
    suites = {suite.name: suite for suite in load_suites()}
    assert {"market_events", "candles", "indicators", "price_anomalies"} <= suites.keys()
    assert tuple(suites) == SUITES, "the form offers what there is"
    assert {check.dimension for suite in suites.values() for check in suite.checks} == set(get_args(Dimension))
    for suite in suites.values():
        for check in suite.checks:
            assert check.reason.endswith("."), check.name
            assert check.expected, check.name
            assert check.name.startswith(suite.name) or suite.name == "stream_batches", check.name


def test_only_critical_checks_of_events_hold_rows_and_they_give_the_whole_key() -> None:
    for suite in load_suites():
        for check in suite.checks:
            if check.quarantine:
                assert (suite.name, check.severity, check.dimension) == ("market_events", "critical", "validity")


def test_every_file_is_validated_and_the_folder_is_data_only() -> None:
    files = {file.stem for file in (FOLDER / "expectations").glob("*.json")}
    assert files == {suite.name for suite in load_suites()}
    assert not list(FOLDER.rglob("*.py")), "a package of this name would shadow the library"


def test_no_check_shows_a_figure_of_a_row() -> None:
    figures = {"open", "high", "low", "close", "volume", "vwap", "value", "payload"}
    for suite in load_suites():
        for check in suite.checks:
            shown = (check.keys_query or "").split(" FROM ")[0]
            assert not figures & set(shown.replace(",", " ").split()), check.name


def test_times_symbols_and_the_limit_are_bound_as_literals() -> None:
    scope = Scope(SCOPE.since, SCOPE.until, ("AAPL", "O'HARA"), 120)
    sql = "SELECT :since, :until, :symbols, :limit, x::text, '12:30'"
    assert scope.bind(sql) == (
        "SELECT '2025-11-28T00:00:00+00:00'::timestamptz, '2025-11-29T00:00:00+00:00'::timestamptz, "
        "ARRAY['AAPL', 'O''HARA']::text[], 120, x::text, '12:30'"
    )
    assert SCOPE.bind(":symbols") == "NULL::text[]"


def test_an_unknown_suite_is_refused_by_name() -> None:
    with pytest.raises(SettingsError, match="there is no suite candels; there are candles"):
        select(["candels"])
    assert [suite.name for suite in select(["candles"])] == ["candles"]
    assert len(select([])) == len(load_suites())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"meta": {"check": "x", "dimension": "validity"}}, "has no reason"),
        ({"severity": "dreadful"}, "needs a dimension and a severity that exist"),
    ],
)
def test_a_suite_with_a_mistake_is_refused_by_name(tmp_path: Path, change: dict[str, object], said: str) -> None:
    folder = shutil.copytree(FOLDER, tmp_path / "great_expectations")
    file = folder / "expectations" / "candles.json"
    document = json.loads(file.read_text())
    document["expectations"][0] |= change
    file.write_text(json.dumps(document))
    with pytest.raises(SettingsError, match=f"candles.json: .*{said}"):
        load_suites(folder)
    file.write_text("{")
    with pytest.raises(SettingsError, match="expectations/candles.json cannot be read"):
        load_suites(folder)
