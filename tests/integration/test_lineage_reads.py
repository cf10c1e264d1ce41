"""What made a candle, on the real server: events by the stream's own sink, revisions, quarantine, quality runs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import psycopg
import pytest
import typer
from typer.testing import CliRunner

from include.code_version import code_version
from include.commands.lineage import lineage
from include.market.event import MarketEvent, bar, quote
from include.market.topics import EVENTS
from include.settings import Settings
from include.storage import lineage_reads, lineage_sql
from include.storage.lineage_reads import LineageReader
from include.storage.lineage_rows import Lineage
from include.storage.quality_store import QualityStore, Result
from tests.integration.archive_days import COLD_DAY
from tests.integration.quality_world import COIN, LIQUID, MINUTE, Delivery, World, database
from tests.stores import Services

DAY = datetime(2025, 11, 26, 15, 0, tzinfo=UTC)
BASE = int(DAY.timestamp()) * 1_000_000


@dataclass(frozen=True)
class Trial:
    world: World
    reader_url: str


def minute_bar(minute: int, close: str = "101", symbol: str = LIQUID, **changes: Any) -> MarketEvent:
    fields: dict[str, Any] = {"asset_class": "stock", "source": "yahoo", "interval_seconds": 60} | changes
    start = BASE + minute * MINUTE
    prices = (Decimal(100), Decimal(110), Decimal(90), Decimal(close))
    return bar(symbol=symbol, start=start, prices=prices, volume=Decimal("12.5"), currency="USD",
               ingested_at=start + MINUTE + 2_000_000, **fields)  # fmt: skip


def a_quote(minute: int) -> MarketEvent:
    at = BASE + minute * MINUTE + 7_000_000
    return quote(symbol=LIQUID, asset_class="stock", source="yahoo", time=at, price=Decimal(105), currency="USD",
                 ingested_at=at)  # fmt: skip


@pytest.fixture(scope="module")
def trial(services: Services) -> Iterator[Trial]:
    with database(services, "lineage_reads") as world:
        delivery = Delivery(world)
        # Batch by batch; each minute is asked about by one test.
        for part in (
            [a_quote(0), minute_bar(0)],
            [minute_bar(minute) for minute in range(1, 6)],
            [minute_bar(0, source="alpha_vantage"), minute_bar(5, interval_seconds=300)],
            [minute_bar(minute) for minute in range(20, 30)],
        ):
            delivery.write({"stock": part})
        delivery.write({"crypto": [minute_bar(0, symbol=COIN, asset_class="crypto", source="binance")]})
        delivery.close()
        yield Trial(world, services.reader_database_url.replace("/financial_data", "/lineage_reads"))


@pytest.fixture
def reader(trial: Trial) -> Iterator[LineageReader]:
    opened = LineageReader(trial.reader_url)
    yield opened
    opened.close()


def at(minute: int) -> datetime:
    return DAY + timedelta(minutes=minute)


def told(found: Lineage | None) -> dict[str, tuple[str, int | None]]:
    """Event to verdict and number of its batch."""
    assert found is not None
    return {
        event.judged.row.event_id: (event.judged.verdict, event.batch.batch_id if event.batch else None)
        for event in found.events
    }


def test_each_event_has_its_verdict_and_the_batch_that_stored_it(reader: LineageReader) -> None:
    found = reader.lineage(LIQUID, at(0) + timedelta(seconds=31))
    assert told(found) == {
        minute_bar(0).event_id: ("used", 0),
        minute_bar(0, source="alpha_vantage").event_id: ("second_bar", 2),
        a_quote(0).event_id: ("outranked", 0),
    }
    assert found is not None
    assert (found.candle.event_count, found.candle.close) == (1, 101)
    assert (found.differs, found.notes, found.is_complete) == ((), (), True)
    first, third = found.batches
    assert first.offsets == {EVENTS["stock"]: {"0": [0, 2]}}
    assert (first.query_name, first.checkpoint_id, first.rows_in) == ("events_stock", "checkpoint", 2)
    assert third.offsets[EVENTS["stock"]]["0"] == [7, 9]
    assert {batch.code_version for batch in found.batches} == {code_version()}
    assert {event.kafka_topic for event in found.events} == {EVENTS["stock"]}


def test_a_longer_window_has_more_events_of_more_batches(reader: LineageReader) -> None:
    found = reader.lineage(LIQUID, at(3), "5m")
    assert found is not None
    assert (found.candle.interval, found.candle.window_start, found.window_end) == ("5m", at(0), at(5))
    assert [batch.batch_id for batch in found.batches] == [0, 1, 2]
    assert sum(event.judged.is_used for event in found.events) == found.candle.event_count == 5
    assert told(reader.lineage(LIQUID, at(5)))[minute_bar(5, interval_seconds=300).event_id] == ("too_long", 2)


def test_the_batch_of_another_asset_class_is_another_query(reader: LineageReader) -> None:
    found = reader.lineage(COIN, at(0))
    assert found is not None
    assert [(batch.query_name, batch.batch_id) for batch in found.batches] == [("events_crypto", 0)]


def test_what_is_not_there_is_none(reader: LineageReader) -> None:
    assert reader.lineage(LIQUID, at(500)) is None
    assert reader.lineage("NOPE", at(0)) is None


def test_a_revision_supersedes_and_is_told_apart_from_the_stream(trial: Trial, reader: LineageReader) -> None:
    trial.world.execute(
        "INSERT INTO market_events SELECT event_id, symbol, asset_class, source, kind, event_time, interval_seconds, "
        "open, high, low, 102, volume, currency, now(), NULL, NULL, 1 FROM market_events WHERE event_id = %s",
        minute_bar(20).event_id,
    )
    trial.world.execute(
        "INSERT INTO backfill_results (run_id, symbol, day, interval, source, bars_changed, missing_before, "
        "missing_after, calls) VALUES ('by hand', %s, %s, '1m', 'yahoo', 1, 0, 0, 1)",
        LIQUID,
        at(20).date(),
    )
    found = reader.lineage(LIQUID, at(20))
    assert found is not None
    verdicts = [(each.judged.row.revision, each.judged.verdict, each.judged.why) for each in found.events]
    assert verdicts == [(0, "superseded", "revision 1 counts"), (1, "used", None)]
    assert (found.events[1].kafka_topic, found.events[1].batch) == (None, None)
    assert [(each.run_id, each.bars_changed) for each in found.backfills] == [("by hand", 1)]
    # The candle was not counted again here: that is seen.
    assert found.differs == ("close",)
    assert any("came by a backfill" in note for note in found.notes)
    assert any("do not give this candle's close" in note for note in found.notes)


def test_an_event_in_quarantine_says_by_which_check(trial: Trial, reader: LineageReader) -> None:
    trial.world.execute(
        "INSERT INTO quarantined_events (event_id, revision, event_time, symbol, asset_class, check_name, reason) "
        "SELECT event_id, revision, event_time, symbol, asset_class, 'wicks', 'A bad print.' FROM market_events "
        "WHERE event_id = %s",
        minute_bar(21).event_id,
    )
    found = reader.lineage(LIQUID, at(21))
    assert found is not None
    (event,) = found.events
    assert (event.judged.verdict, event.judged.why) == ("quarantined", "held in quarantine by wicks: A bad print.")
    assert found.differs == ("event_count",)
    assert any("does not show yet" in note for note in found.notes)
    trial.world.execute(
        "UPDATE quarantined_events SET state = 'released', decided_at = now(), applied_at = now() WHERE event_id = %s",
        minute_bar(21).event_id,
    )
    again = reader.lineage(LIQUID, at(21))
    assert again is not None
    assert (again.events[0].judged.verdict, again.differs, again.notes) == ("used", (), ())


def test_a_rebuild_that_reads_the_records_again_is_not_what_stored_them(trial: Trial, reader: LineageReader) -> None:
    before = reader.lineage(LIQUID, at(22))
    assert before is not None
    trial.world.execute(
        "INSERT INTO stream_batches (query_name, checkpoint_id, batch_id, epoch, offsets, rows_in, rows_new, "
        "rows_dead_lettered, rows_late, max_event_time, committed_at) SELECT query_name, 'again', 0, 99, "
        "%s, 30, 0, 0, 0, max_event_time, committed_at + %s * interval '1 microsecond' FROM stream_batches "
        "WHERE batch_id = 3 AND query_name = 'events_stock' AND checkpoint_id = 'checkpoint'",
        json.dumps({EVENTS["stock"]: {"0": [0, 19]}}),
        -1,
    )
    try:
        assert reader.lineage(LIQUID, at(22)) == before
    finally:
        trial.world.execute("DELETE FROM stream_batches WHERE checkpoint_id = 'again'")


def test_an_event_without_a_batch_is_said(trial: Trial, reader: LineageReader) -> None:
    trial.world.execute("UPDATE market_events SET kafka_offset = 777 WHERE event_id = %s", minute_bar(29).event_id)
    found = reader.lineage(LIQUID, at(29))
    assert told(found)[minute_bar(29).event_id] == ("used", None)
    assert found is not None
    assert found.notes == ("no batch was found in the ledger for 1 of the events",)


def test_quality_runs_that_looked_at_the_window_with_what_they_found(trial: Trial, reader: LineageReader) -> None:
    key = {"symbol": LIQUID, "interval": "1m", "window_start": str(at(23))}
    results = [
        Result("candles", "candles_high_low", "validity", "critical", False, "2 rows fail", "low <= high", "Why.",
               failing_rows=2, failing_keys=[key, {**key, "window_start": str(at(24))}]),
        Result("candles", "candles_columns", "schema", "critical", True, "as expected", "all columns", "Why."),
        Result("stream_batches", "ledger_control", "reconciliation", "critical", False, "1 row", "equal", "Why.",
               failing_rows=1, failing_keys=[{"query_name": "events_stock", "checkpoint_id": "checkpoint",
                                              "batch_id": 0}]),
        Result("symbol_freshness", "fresh", "freshness", "warning", False, "old", "new", "Why.", symbol=COIN),
        Result("symbol_freshness", "fresh", "freshness", "warning", False, "late", "new", "Why.", symbol=LIQUID),
    ]  # fmt: skip
    summary = {"passed": 1, "failed_critical": 2, "failed_warning": 1, "summary": "words"}
    with QualityStore(trial.world.checker_url) as store:
        for name, covered, symbols in (
            ("looked", (at(0), at(60)), None),
            ("before", (at(-60), at(0)), None),
            ("of another", (at(0), at(60)), [COIN]),
            ("of ours", (at(23), at(24)), [LIQUID]),
        ):
            store.begin(name, None, covered, ["candles"], symbols)
            store.finish(name, results if name == "looked" else [], covered, summary)
        store.begin("unfinished", None, (at(0), at(60)), ["candles"], None)
    found = reader.lineage(LIQUID, at(23))
    assert found is not None
    assert {run.run_id for run in found.runs} == {"looked", "of ours"}
    assert found.runs_total == 2
    (looked,) = [run for run in found.runs if run.run_id == "looked"]
    assert (looked.passed, looked.failed_critical, looked.code_version) == (1, 2, code_version())
    assert [(each.check_name, each.keys) for each in looked.findings] == [("candles_high_low", [key]), ("fresh", [])]
    # The ledger's finding is about batch 0, which has nothing of minute 23 and all of minute 0.
    of_first = reader.lineage(LIQUID, at(0))
    assert of_first is not None
    assert [each.check_name for each in of_first.runs[0].findings] == ["ledger_control", "fresh"]


def test_a_day_that_is_in_the_archive_only_says_so(trial: Trial, reader: LineageReader) -> None:
    trial.world.execute(COLD_DAY, at(2).date())
    try:
        found = reader.lineage(LIQUID, at(2))
    finally:
        trial.world.execute("DELETE FROM archived_days")
    assert found is not None
    assert (found.is_complete, found.differs) == (False, ())
    assert found.notes[0].startswith("the raw events of 2025-11-26 are only in the archive")


def test_a_window_of_too_many_events_is_cut_and_says_so(reader: LineageReader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lineage_reads, "MAX_EVENTS", 2)
    found = reader.lineage(LIQUID, at(0), "5m")
    assert found is not None
    assert (len(found.events), found.is_complete, found.differs) == (2, False, ())
    assert found.notes[-1] == "the window has more than 2 events: these are its first"
    monkeypatch.setattr(lineage_reads, "MAX_EVENTS", 20_000)
    monkeypatch.setattr(lineage_reads, "MAX_BATCHES", 1)
    found = reader.lineage(LIQUID, at(0), "5m")
    assert found is not None
    assert [batch.batch_id for batch in found.batches] == [0]
    assert found.notes == ("only the first 1 batches are looked for: 5 events have theirs behind them",)


def test_no_question_reads_a_table_from_end_to_end(trial: Trial) -> None:
    """However large: events by their day's index, the ledger by the time of its commits."""
    bound: dict[str, Any] = {
        "symbol": LIQUID, "interval": "1m", "start": at(0), "end": at(1), "limit": 100, "query_name": "events_stock",
        "topic": EVENTS["stock"], "partition": "0", "offset": 1, "event_time": at(0), "since": at(0),
        "until": "infinity", "ahead": 5, "runs": ["looked"],
    }  # fmt: skip
    with psycopg.connect(trial.reader_url) as connection:
        connection.execute("SET enable_seqscan = off")
        for statement in (lineage_sql.CANDLE, lineage_sql.EVENTS, lineage_sql.BATCHES, lineage_sql.BACKFILLS,
                          lineage_sql.RUNS, lineage_sql.FAILED):  # fmt: skip
            plan = "\n".join(line for (line,) in connection.execute(f"EXPLAIN {statement}", bound))
            assert "Seq Scan" not in plan, plan


def test_the_command_prints_words_or_the_documents_of_the_api(
    trial: Trial, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = Settings(reader_database_url=trial.reader_url, market="sandbox")
    monkeypatch.setattr("include.commands.lineage.settings", lambda: chosen)
    commands = typer.Typer()
    commands.command()(lineage)

    def run(*arguments: str) -> tuple[int, str]:
        result = CliRunner().invoke(commands, list(arguments))
        return result.exit_code, result.output + "".join(capsys.readouterr())

    code, shown = run("aapl", "2025-11-26T15:00:42")
    assert code == 0
    assert minute_bar(0).event_id in shown
    assert code_version() in shown
    code, shown = run("AAPL", "2025-11-26T16:01+01:00", "--interval", "5m", "--json")
    assert code == 0
    document = json.loads(shown)
    assert (document["interval"], document["candle"]["window_start"]) == ("5m", "2025-11-26T15:00:00Z")
    assert [event["verdict"] for event in document["events"]].count("used") == 5
    for arguments in (("AAPL", "yesterday"), ("AAPL", "2025-11-26T15:00", "--interval", "1h"), ("NOPE", "2025-11-26")):
        code, shown = run(*arguments)
        assert (code, shown.strip().count("\n")) == (1, 0), shown
