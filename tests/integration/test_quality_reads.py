"""What page, API and command read of quality, on the real server: two days of runs, each question by an index."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
import typer
from typer.testing import CliRunner

from include.commands.quality import quality
from include.settings import Settings
from include.storage import migrate, quality_metrics, quality_reads, quality_sql
from include.storage.database import DatabaseManager
from include.storage.quality_reads import QualityReader
from include.storage.read_connections import DatabaseUnavailable
from tests.quality_seed import BROKEN, EVERY, HOLES, MENDED, RUNS, STALE, SYMBOLS, run_id, seed_quality
from tests.stores import Services
from tests.trial_database import trial_database

#: The newest run; on the minute, so that steps are easy to count, and now, for the archive goes by the clock.
NEWEST = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(minutes=10)
DAY = timedelta(days=1)


@dataclass(frozen=True)
class Trial:
    owner_url: str
    reader_url: str

    def execute(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.owner_url, autocommit=True) as connection:
            cursor = connection.execute(statement, values or None)
            return cursor.fetchall() if cursor.description else []


@pytest.fixture(scope="module")
def trial(services: Services) -> Iterator[Trial]:
    with trial_database(services, "quality_reads") as owner_url:
        migrate.upgrade(owner_url, "sandbox")
        seed_quality(owner_url, NEWEST)
        yield Trial(owner_url, services.reader_database_url.replace("/financial_data", "/quality_reads"))


@pytest.fixture
def reader(trial: Trial) -> Iterator[QualityReader]:
    opened = QualityReader(trial.reader_url)
    yield opened
    opened.close()


def test_the_newest_run_is_the_one_that_began_last_and_has_ended(trial: Trial, reader: QualityReader) -> None:
    run = reader.newest_run()
    assert run is not None
    assert run.run_id == run_id(NEWEST)
    assert (run.failed_critical, run.failed_warning) == (2, 1)
    assert run.pass_rate == run.passed / (run.passed + 3)  # type: ignore[operator]
    assert reader.run(run.run_id) == run
    assert reader.run("no-such-run") is None
    assert reader.unfinished_run() is None
    trial.execute(
        "INSERT INTO quality_runs (run_id, started_at, covered_from, covered_until, suites) "
        "VALUES ('under-way', now() + interval '1 h', now(), now(), '{candles}')"
    )
    try:
        under_way = reader.unfinished_run()
        assert under_way is not None
        assert (under_way.run_id, under_way.pass_rate) == ("under-way", None)
        assert reader.newest_run() == run
    finally:
        trial.execute("DELETE FROM quality_runs WHERE run_id = 'under-way'")


def test_runs_can_be_walked_both_ways(reader: QualityReader) -> None:
    newest, before = (reader.run(run_id(NEWEST - EVERY * number)) for number in (0, 1))
    assert newest is not None
    assert before is not None
    assert reader.neighbours(newest) == (before.run_id, None)
    assert reader.neighbours(before) == (run_id(NEWEST - EVERY * 2), newest.run_id)


def test_failing_results_come_first_with_the_keys_of_their_rows(reader: QualityReader) -> None:
    found = reader.results(run_id(NEWEST))
    failing = [each for each in found if not each.passed]
    assert found[: len(failing)] == failing
    assert [each.severity for each in failing] == ["critical"] * 3 + ["warning"] * 2
    (broken,) = [each for each in failing if each.check_name == BROKEN]
    assert broken.failing_rows == len(broken.failing_keys) == 3
    assert broken.failing_keys[0]["symbol"] == "AAPL"
    assert {each.symbol for each in found if each.symbol} == set(SYMBOLS)
    assert len(reader.results(run_id(NEWEST), limit=7)) == 7
    assert reader.results("no-such-run") == []


def test_a_run_that_was_written_twice_counts_once(trial: Trial, reader: QualityReader) -> None:
    """As a task does that is tried again after it had written."""
    name = run_id(NEWEST - EVERY * 5)
    before = reader.results(name)
    columns = "run_id, suite, check_name, dimension, severity, symbol, passed, observed, expected, measured, reason"
    trial.execute(
        f"INSERT INTO data_quality_results (checked_at, {columns}) SELECT checked_at + interval '1 s', {columns} "
        "FROM data_quality_results WHERE run_id = %s AND check_name LIKE 'candles%%'",
        name,
    )
    again = reader.results(name)
    assert 0 < len(again) < len(before)
    assert len({(each.check_name, each.symbol) for each in again}) == len(again)


def test_the_pass_rate_has_the_worst_run_of_each_step(reader: QualityReader) -> None:
    every = reader.rates(NEWEST - DAY + EVERY, NEWEST + EVERY, points=144)
    assert len(every) == 144
    assert [point.started_at for point in every] == sorted(point.started_at for point in every)
    assert every[-1].failed_critical == 2
    assert 0.95 < every[-1].pass_rate < every[-30].pass_rate == 1.0
    hourly = reader.rates(NEWEST - DAY, NEWEST + EVERY, points=24)
    assert len(hourly) <= 26
    assert hourly[-1].failed_critical == 2
    assert reader.rates(NEWEST + DAY, NEWEST + 2 * DAY) == []


def test_a_course_is_down_sampled_to_its_worst_in_the_server(
    reader: QualityReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    fine = reader.series(NEWEST - DAY, NEWEST + EVERY, points=10_000)
    per_symbol = [each for each in fine if (each.symbol, each.dimension) == (STALE, "freshness")]
    assert 140 < len(per_symbol) <= 301
    coarse = reader.series(NEWEST - DAY, NEWEST + EVERY, symbol=STALE, points=12)
    assert {each.symbol for each in coarse} == {STALE}
    fresh = [each for each in coarse if each.dimension == "freshness"]
    assert len(fresh) <= 14
    worst = max((each for each in fresh), key=lambda each: each.measured or 0)
    assert (worst.measured, worst.passed) == (3_900.0, False)
    holes = [each for each in fine if (each.symbol, each.dimension) == (HOLES, "completeness")]
    assert min(each.measured or 0 for each in holes) == pytest.approx(1 - 9 / 70)
    monkeypatch.setattr(quality_reads, "POINTS", 10)
    most = reader.series(NEWEST - DAY, NEWEST + EVERY, symbol=HOLES, points=10_000)
    assert len(most) <= 2 * 12, "however many steps are asked for"


def test_a_day_gone_by_that_is_checked_by_hand_is_no_point_of_the_course(trial: Trial, reader: QualityReader) -> None:
    before = reader.series(NEWEST - DAY, NEWEST + EVERY, symbol="AAPL")
    trial.execute(
        "INSERT INTO data_quality_results (checked_at, run_id, suite, check_name, dimension, severity, symbol, passed,"
        " measured, covered_from, covered_until) VALUES (%s, 'by-hand', 'symbol_freshness', 'symbol_freshness',"
        " 'freshness', 'critical', 'AAPL', false, 9999, %s, %s)",
        NEWEST,
        NEWEST - 5 * DAY,
        NEWEST - 4 * DAY,
    )
    assert reader.series(NEWEST - DAY, NEWEST + EVERY, symbol="AAPL") == before


def test_what_changed_since_yesterday_is_told_both_ways_in_both_words(reader: QualityReader) -> None:
    run = reader.newest_run()
    assert run is not None
    before = reader.day_before(run)
    assert before is not None
    assert before.run_id == run_id(NEWEST - DAY)
    changes = reader.changes(run, before)
    told = [(each.check_name, each.symbol, each.passed) for each in changes]
    assert told[0] == (BROKEN, None, False)
    assert ("symbol_freshness", STALE, False) in told
    assert told[-1] == (MENDED, None, True)
    assert (changes[0].observed_before, changes[0].observed_now) == ("as expected", "3 rows fail")
    assert (changes[-1].observed_before, changes[-1].observed_now) == ("1 rows fail", "as expected")


def test_a_run_of_other_suites_is_not_compared(trial: Trial, reader: QualityReader) -> None:
    trial.execute("UPDATE quality_runs SET suites = '{candles}' WHERE run_id = %s", run_id(NEWEST - 10 * EVERY))
    partial = reader.run(run_id(NEWEST - 10 * EVERY))
    assert partial is not None
    assert reader.day_before(partial) is None
    first = reader.run(run_id(NEWEST - (RUNS - 1) * EVERY))
    assert first is not None
    assert reader.day_before(first) is None


def test_only_what_waits_for_a_decision_is_held(reader: QualityReader) -> None:
    held = reader.held()
    assert [each.check_name for each in held] == [BROKEN] * 3
    assert len(reader.held(limit=2)) == 2
    assert reader.held_count() == 3


def test_the_archive_counts_days_by_where_they_are(trial: Trial, reader: QualityReader) -> None:
    (days,) = [each for each in reader.archive() if each.relation == "data_quality_results"]
    assert (days.warm, days.cold) == (1, 1)
    assert days.hot == len({(NEWEST - EVERY * number).date() for number in range(RUNS)} - {NEWEST.date() + DAY})
    assert (days.rows_filed, days.bytes_filed) == (26_000, 1_400_000)


def test_no_question_reads_a_table_of_results_from_end_to_end(trial: Trial) -> None:
    bound: dict[str, Any] = {
        "run_id": run_id(NEWEST - 100 * EVERY),
        "before": run_id(NEWEST - 244 * EVERY),
        "limit": 2_000,
        "since": NEWEST - timedelta(hours=3),
        "until": NEWEST,
        "step": EVERY,
        "symbol": None,
        "started_at": NEWEST,
        "suites": ["candles"],
        "symbols": None,
    }
    with psycopg.connect(trial.reader_url) as connection:
        for statement in (quality_sql.RESULTS, quality_sql.CHANGES, quality_sql.SERIES):
            plan = connection.execute(f"EXPLAIN {statement}", bound).fetchall()
            scans = [line for (line,) in plan if "Seq Scan on data_quality_results" in line]
            assert scans == [], statement


def test_the_reader_cannot_write(trial: Trial, reader: QualityReader) -> None:
    with pytest.raises(DatabaseUnavailable, match="read-only"), reader.connection() as connection:
        connection.execute("DELETE FROM quality_runs")


def test_a_database_where_nothing_was_checked_says_so(services: Services) -> None:
    with trial_database(services, "unchecked") as owner_url:
        migrate.upgrade(owner_url, "sandbox")
        reader = QualityReader(owner_url)
        assert (reader.newest_run(), reader.unfinished_run()) == (None, None)
        assert (reader.rates(NEWEST - DAY, NEWEST), reader.series(NEWEST - DAY, NEWEST)) == ([], [])
        assert (reader.held(), reader.held_count()) == ([], 0)
        reader.close()
        with DatabaseManager(owner_url) as manager:
            metrics = manager.get_data_quality_metrics()
        assert (metrics["last_run"], metrics["failing_checks"]) == (None, [])
        assert metrics["events"] == metrics["candles"] == metrics["dead_letters"] == metrics["late_events"] == 0


def test_the_metrics_tell_of_the_last_run_and_of_now(trial: Trial) -> None:
    _fill_market(trial)
    with DatabaseManager(trial.reader_url) as manager:
        metrics = manager.get_data_quality_metrics()
    assert metrics["last_run"]["run_id"] == run_id(NEWEST)
    assert metrics["last_run"]["failed_critical"] == 2
    assert [line.split(":")[0] for line in metrics["failing_checks"]] == ["critical"] * 3 + ["warning"] * 2
    assert any(
        line.startswith(f"critical: symbol_freshness of {STALE}: last event") for line in metrics["failing_checks"]
    )
    assert (metrics["events"], metrics["candles"], metrics["counts"]["events"]) == (5_000, 5_000, "exact")
    assert metrics["quarantine_held"] == 3
    (fresh,) = metrics["freshness"]
    assert fresh["symbol"] == "AAPL"
    assert fresh["is_fresh"]
    assert fresh["age_seconds"] <= fresh["limit_seconds"]
    (complete,) = metrics["completeness"]
    assert complete["expected_minutes"] >= complete["present_minutes"] > 0
    (symbol,) = metrics["symbols"]
    assert (symbol["symbol"], symbol["candles"]) == ("AAPL", 5_000)
    assert symbol["age_seconds"] < 120


def test_counts_of_many_rows_are_estimates_that_come_close(trial: Trial, monkeypatch: pytest.MonkeyPatch) -> None:
    _fill_market(trial)
    trial.execute("ANALYZE market_events, candles")
    monkeypatch.setattr(quality_metrics, "COUNTED_BYTES", 8_192)
    with DatabaseManager(trial.reader_url) as manager:
        metrics = manager.get_data_quality_metrics()
    assert metrics["counts"] == {
        "events": "estimated",
        "candles": "estimated",
        "dead_letters": "exact",
        "late_events": "exact",
    }
    assert isinstance(metrics["events"], int)
    assert metrics["events"] == pytest.approx(5_000, rel=0.05)
    assert metrics["candles"] == pytest.approx(5_000, rel=0.05)
    assert metrics["symbols"][0]["candles"] == pytest.approx(5_000, rel=0.05)


def _fill_market(trial: Trial) -> None:
    """5,000 minutes of one symbol until now, in events and candles; the market is open round the clock."""
    if trial.execute("SELECT 1 FROM candles LIMIT 1"):
        return
    trial.execute(
        "INSERT INTO instruments (symbol, asset_class, name, is_collected, collected_since)"
        " VALUES ('AAPL', 'stock', 'A', true, now() - interval '5000 minutes')"
    )
    trial.execute(
        "INSERT INTO trading_sessions SELECT 'stock', d::date, d, d + interval '1 day'"
        " FROM generate_series(date_trunc('day', now()) - interval '10 days', now(), interval '1 day') AS d"
    )
    trial.execute(
        "SELECT ensure_event_partitions(array(SELECT (current_date - n)::date FROM generate_series(-1, 6) n))"
    )
    trial.execute(
        "INSERT INTO market_events SELECT 'e:' || n, 'AAPL', 'stock', 'yahoo', 'bar', date_trunc('minute', now())"
        " - n * interval '1 minute', 60, 1, 1, 1, 1, 1, 'USD', now(), 0, n, 0 FROM generate_series(1, 5000) n"
    )
    trial.execute(
        "INSERT INTO candles SELECT 'AAPL', '1m', date_trunc('minute', now()) - n * interval '1 minute', 1, 1, 1, 1, 1,"
        " 1, 1, 'yahoo', 'stock' FROM generate_series(1, 5000) n"
    )


def test_the_command_tells_of_a_run_and_fails_where_a_critical_check_does(
    trial: Trial, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("include.commands.quality.settings", lambda: Settings(reader_database_url=trial.reader_url))

    def run(*arguments: str) -> tuple[int, str]:
        result = CliRunner().invoke(commands, list(arguments))
        return result.exit_code, result.output + capsys.readouterr().out

    commands = typer.Typer()
    commands.command()(quality)
    code, shown = run()
    assert code == 1
    assert BROKEN in shown
    code, shown = run("--run", run_id(NEWEST - 20 * EVERY))
    assert code == 0
    code, shown = run("--json")
    assert code == 1
    assert json.loads(shown)["run"]["failed_critical"] == 2
    code, _ = run("--run", "no-such-run")
    assert code == 1
