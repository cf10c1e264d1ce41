"""A night of apply_retention on the real server, the commands, and the recomputation of a day that is away."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from include.commands import archive as command
from include.operations.retention import DAYS_AHEAD, Rules, apply_retention, make_partitions_ahead, restore
from include.settings import PROJECT_ROOT, Settings
from include.storage.archive_catalogue import ArchiveError, DayIsBusy, archive_folder
from tests.integration.archive_days import EVENTS, RESULTS, ArchiveTrial, archive_trial
from tests.stores import Services

TODAY = date(2026, 3, 31)
RULES = Rules(archive_after_days=7, keep_days=30)
HOT, WARM, COLD = (TODAY - timedelta(days=days) for days in (7, 20, 31))


@pytest.fixture
def trial(services: Services, tmp_path: Path) -> Iterator[ArchiveTrial]:
    with archive_trial(services, tmp_path) as made:
        for day in (HOT, WARM, COLD):
            made.fill(day, 200)
            made.fill(day, 20, RESULTS)
        yield made


def test_a_night_moves_what_is_due_and_a_second_one_nothing(trial: ArchiveTrial) -> None:
    before = {day: trial.content(day) for day in (HOT, WARM, COLD)}
    done = apply_retention(trial.owner_url, trial.folder, RULES, TODAY)["relations"]
    assert {name: done[EVENTS][name] for name in ("hot", "warm", "cold")} == {"hot": 2, "warm": 1, "cold": 1}
    assert (done[EVENTS]["archived"], done[EVENTS]["dropped"]) == ([f"{COLD}", f"{WARM}"], [f"{COLD}"])
    assert (done[EVENTS]["rows_archived"], done[EVENTS]["rows_dropped"]) == (400, 200)
    files = [*trial.folder.glob(f"{EVENTS}/*/*.parquet")]
    assert done[EVENTS]["bytes_archived"] == sum(file.stat().st_size for file in files)
    assert (done[RESULTS]["rows_archived"], done[RESULTS]["rows_dropped"]) == (40, 20)
    assert {day: trial.content(day) for day in before} == {**before, COLD: []}
    assert partitions(trial, EVENTS) == {HOT, WARM, *ahead()}
    assert partitions(trial, RESULTS) == {HOT, WARM, *ahead()}

    again = apply_retention(trial.owner_url, trial.folder, RULES, TODAY)["relations"]
    for relation in (EVENTS, RESULTS):
        assert (again[relation]["archived"], again[relation]["dropped"]) == ([], [])
        assert {name: again[relation][name] for name in ("hot", "warm", "cold")} == {"hot": 2, "warm": 1, "cold": 1}


def test_a_dry_run_says_it_and_moves_nothing(trial: ArchiveTrial) -> None:
    said = apply_retention(trial.owner_url, trial.folder, RULES, TODAY, dry_run=True)
    assert said["relations"][EVENTS] == {
        "hot": 3,
        "warm": 0,
        "cold": 0,
        "would_make": [f"{day}" for day in ahead()],
        "would_archive": [f"{COLD}", f"{WARM}"],
        "would_drop": [f"{COLD}"],
    }
    assert partitions(trial, EVENTS) == {HOT, WARM, COLD}
    assert [*trial.folder.rglob("*.parquet")] == []


def test_a_day_that_is_not_safe_stays_and_the_others_go_on(trial: ArchiveTrial) -> None:
    older = COLD - timedelta(days=1)
    trial.fill(older, 50)
    with trial.archive() as archive:
        archive.archive_day(EVENTS, older)
    trial.rows("UPDATE market_events SET close = close - 0.00000001 WHERE event_time::date = %s", older)
    with pytest.raises(ArchiveError, match=f"^{EVENTS} of {older}, part 1: 50 of its rows are not in [^;]*$"):
        apply_retention(trial.owner_url, trial.folder, RULES, TODAY)
    assert len(trial.content(older)) == 50
    assert trial.content(COLD) == []
    assert [part.is_cold for part in trial.parts(COLD) + trial.parts(WARM)] == [True, False]


def test_a_column_that_came_since_stops_nothing(trial: ArchiveTrial) -> None:
    apply_retention(trial.owner_url, trial.folder, RULES, TODAY)
    trial.rows("ALTER TABLE market.market_events ADD COLUMN venue text")
    try:
        later = TODAY + timedelta(days=(WARM - COLD).days)
        assert apply_retention(trial.owner_url, trial.folder, RULES, later)["relations"][EVENTS]["cold"] == 2
        assert restore(trial.owner_url, trial.folder, WARM)[EVENTS] > 0
    finally:
        trial.rows("ALTER TABLE market.market_events DROP COLUMN venue")


def test_a_day_that_somebody_works_on_is_for_another_try(trial: ArchiveTrial) -> None:
    with (
        trial.archive() as other,
        other._locked(EVENTS, COLD),
        pytest.raises(DayIsBusy, match=f"^{EVENTS} of {COLD}: "),
    ):
        apply_retention(trial.owner_url, trial.folder, RULES, TODAY)
    assert len(trial.content(COLD)) == 200
    assert apply_retention(trial.owner_url, trial.folder, RULES, TODAY)["relations"][EVENTS]["cold"] == 1


def test_a_day_that_was_brought_back_is_there_after_the_next_night(trial: ArchiveTrial) -> None:
    before = trial.content(COLD)
    apply_retention(trial.owner_url, trial.folder, RULES, TODAY)
    assert restore(trial.owner_url, trial.folder, COLD) == {EVENTS: 200, RESULTS: 20}
    # The server's clock says when it was brought back.
    ((now,),) = trial.rows("SELECT now()::date")
    apply_retention(trial.owner_url, trial.folder, RULES, now)
    assert trial.content(COLD) == before
    apply_retention(trial.owner_url, trial.folder, RULES, now + timedelta(days=8))
    assert trial.content(COLD) == []


def test_partitions_ahead_are_made_once(trial: ArchiveTrial) -> None:
    make_partitions_ahead(trial.owner_url, TODAY)
    make_partitions_ahead(trial.owner_url, TODAY)
    for relation in (EVENTS, RESULTS):
        assert partitions(trial, relation) == {HOT, WARM, COLD, *ahead()}


def test_the_commands_list_and_restore(trial: ArchiveTrial, monkeypatch: pytest.MonkeyPatch) -> None:
    trial = replace(trial, folder=trial.folder / "sandbox")
    apply_retention(trial.owner_url, trial.folder, RULES, TODAY)
    chosen = Settings(database_url=trial.owner_url, archive_dir=trial.folder.parent, market="sandbox")
    assert archive_folder(chosen) == trial.folder, "markets share no folder"
    monkeypatch.setattr(command, "settings", lambda: chosen)
    runner = CliRunner()
    listed = runner.invoke(command.app, ["list"]).output
    rows = {tuple(line.split()[:3]) for line in listed.splitlines()}
    assert {(EVENTS, f"{HOT}", "hot"), (EVENTS, f"{WARM}", "warm"), (RESULTS, f"{COLD}", "cold")} <= rows
    done = runner.invoke(command.app, ["restore", f"{COLD}"])
    assert (done.exit_code, f"{EVENTS} of {COLD}: 200 rows are back" in done.output) == (0, True)
    for wrong, says in ((f"{COLD}", "is not in the archive alone"), ("yesterday", "give it as")):
        refused = runner.invoke(command.app, ["restore", wrong])
        assert (refused.exit_code, says in refused.output) == (1, True)


def test_a_cold_day_is_not_recomputed(trial: ArchiveTrial, services: Services) -> None:
    def recompute(day: date) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "spark_jobs.recompute", f"{day}", f"{day}"],
            env=services.environment | {"WRITER_DATABASE_URL": trial.writer_url},
            cwd=PROJECT_ROOT,
            capture_output=True,
            text=True,
            timeout=120,
        )

    trial.rows("DELETE FROM market_events WHERE volume > 1e19 OR symbol = 'NA'")  # odd ones, for the archive alone
    apply_retention(trial.owner_url, trial.folder, RULES, TODAY)
    refused = recompute(COLD)
    assert refused.returncode != 0
    assert f"DayIsCold: {EVENTS} of {COLD}: the rows are only in the archive" in refused.stderr.splitlines()[-1]
    done = recompute(WARM)
    assert done.returncode == 0, done.stderr
    assert '"events": 50' in done.stdout


def ahead() -> list[date]:
    return [TODAY + timedelta(days=number) for number in range(DAYS_AHEAD + 1)]


def partitions(trial: ArchiveTrial, relation: str) -> set[date]:
    with trial.archive() as archive:
        return {held.day for held in archive.partitions() if held.relation == relation}
