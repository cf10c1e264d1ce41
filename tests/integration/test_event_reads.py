"""Raw events of hot, warm and cold days read as one, on the real server and real files."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple
from datetime import date, datetime, timedelta
from threading import Event

import pytest

from include.storage.event_reads import EventReader, StoredEvent
from include.storage.read_connections import DatabaseUnavailable
from tests.integration.archive_days import EVENTS, ArchiveTrial, archive_trial, start_of
from tests.stores import Services

COLD, WARM, HOT = (date(2024, 5, day) for day in (1, 2, 3))
HOUR = timedelta(hours=1)


@pytest.fixture(scope="module")
def trial(services: Services, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ArchiveTrial]:
    with archive_trial(services, tmp_path_factory.mktemp("archive")) as made:
        for day in (COLD, WARM, HOT):
            made.fill(day, 1_000)
            made.revise(day)
        yield made


@pytest.fixture
def reader(trial: ArchiveTrial) -> Iterator[EventReader]:
    opened = EventReader(trial.reader_url, trial.folder)
    yield opened
    opened.close()


def test_a_journey_from_hot_to_cold_and_back_changes_no_answer(trial: ArchiveTrial, reader: EventReader) -> None:
    questions = [
        (start_of(COLD), start_of(HOT) + timedelta(days=1), 10_000),
        (start_of(COLD) + 23 * HOUR, start_of(WARM) + HOUR, 10_000),
        (start_of(COLD) + HOUR, start_of(COLD) + 5 * HOUR, 37),
        (start_of(HOT), start_of(HOT) + HOUR, 10),
        (start_of(COLD) - HOUR, start_of(COLD) + HOUR, 10_000),
    ]

    def answers() -> list[list[StoredEvent]]:
        return [reader.events(symbol, *question) for question in questions for symbol in ("NA", "AAPL")]

    hot = answers()
    assert [len(found) for found in hot[:2]] == [750, 750]
    assert [len(found) for found in hot[4:6]] == [37, 37]
    assert {row.revision for row in hot[1]} == {0, 1}
    assert any(row.volume is None for row in hot[0])
    with trial.archive() as archive:
        for day in (COLD, WARM):
            archive.archive_day(EVENTS, day)
        archive.drop_day(EVENTS, COLD)
        assert trial.content(COLD) == []
        assert answers() == hot
        archive.restore_day(EVENTS, COLD)
        assert answers() == hot


def test_events_are_oldest_first_in_their_newest_revision(trial: ArchiveTrial, reader: EventReader) -> None:
    found = reader.events("BRK-B", start_of(HOT), start_of(HOT) + timedelta(days=1), 1_000)
    times = [row.event_time for row in found]
    assert times == sorted(times)
    assert len({row.event_id for row in found}) == len(found) == 250
    columns = ", ".join(StoredEvent.__dataclass_fields__)
    stored = trial.rows(
        f"SELECT {columns} FROM current_events WHERE symbol = 'BRK-B' AND event_time >= %s ORDER BY event_time",
        start_of(HOT),
    )
    assert [astuple(row) for row in found] == stored


def test_parts_of_a_day_are_read_as_one_and_the_first_delivery_counts(trial: ArchiveTrial, reader: EventReader) -> None:
    day = date(2024, 6, 1)
    whole = (start_of(day), start_of(day) + timedelta(days=1))

    def seen() -> list[tuple[str, str, int]]:
        return [(row.event_id, row.source, row.revision) for row in reader.events("AAPL", *whole, 1_000)]

    trial.fill(day, 100)
    with trial.archive() as archive:
        archive.archive_day(EVENTS, day)
        archive.drop_day(EVENTS, day)
        first = seen()
        # One fact again, a later revision of another, and one that is new.
        trial.fill(day, 4, first=96)
        trial.fill(day, 4, first=48)
        trial.fill(day, 4, first=200)
        trial.rows("UPDATE market_events SET source = 'binance' WHERE event_time::date = %s", day)
        trial.rows("UPDATE market_events SET revision = 1 WHERE event_id = %s", f"yahoo:AAPL:bar60:{day}:48")
        expected = [
            (event_id, "binance", 1) if event_id.endswith(":48") else (event_id, source, revision)
            for event_id, source, revision in first
        ] + [(f"yahoo:AAPL:bar60:{day}:200", "binance", 0)]
        assert seen() == expected, "a cold file and a hot partition"
        archive.archive_day(EVENTS, day)
        archive.drop_day(EVENTS, day)
        assert seen() == expected, "two cold files"
        assert len(reader.events("AAPL", *whole, 5)) == 5
        archive.restore_day(EVENTS, day)
        assert seen() == expected, "one warm partition"


def test_a_limit_cuts_a_cold_day_as_a_hot_one(
    trial: ArchiveTrial, reader: EventReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the file has many row groups, and revisions lie on a cut."""
    day = date(2024, 7, 1)
    trial.fill(day, 1_000)
    trial.revise(day)
    bounds = (start_of(day), start_of(day) + timedelta(days=1))
    hot = [reader.events("AAPL", *bounds, limit) for limit in range(1, 50)]
    monkeypatch.setattr("include.storage.archive_files.SLICE_ROWS", 7)
    with trial.archive() as archive:
        archive.archive_day(EVENTS, day)
        archive.drop_day(EVENTS, day)
    assert [reader.events("AAPL", *bounds, limit) for limit in range(1, 50)] == hot


def test_a_file_that_is_lost_is_said_and_not_passed_over(trial: ArchiveTrial, reader: EventReader) -> None:
    day = date(2024, 8, 1)
    trial.fill(day, 10)
    with trial.archive() as archive:
        archive.archive_day(EVENTS, day)
        archive.drop_day(EVENTS, day)
    (trial.folder / trial.parts(day)[0].file).unlink()
    with pytest.raises(DatabaseUnavailable, match="part-0001.parquet"):
        reader.events("AAPL", start_of(day), start_of(day) + HOUR, 10)


def test_a_day_that_goes_while_it_is_read_is_read_all_the_same(
    trial: ArchiveTrial, reader: EventReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Parts become one between the look at the catalogue and the look into the file."""
    day = date(2024, 9, 1)
    for first in (0, 40):
        trial.fill(day, 40, first=first)
        with trial.archive() as archive:
            archive.archive_day(EVENTS, day)
            archive.drop_day(EVENTS, day)
    looked = reader._in_postgres
    looks: list[list[str]] = []

    def look(
        symbol: str, start: datetime, end: datetime, limit: int, as_of: datetime | None
    ) -> tuple[list[StoredEvent], list[str]]:
        found = looked(symbol, start, end, limit, as_of)
        looks.append(found[1])
        if len(looks) == 1:
            with trial.archive() as archive:
                archive.restore_day(EVENTS, day)
        return found

    monkeypatch.setattr(reader, "_in_postgres", look)
    assert len(reader.events("NA", start_of(day), start_of(day) + 24 * HOUR, 100)) == 20
    assert [len(files) for files in looks] == [2, 0]


def test_readers_never_miss_an_event_while_a_day_goes_and_comes_back(trial: ArchiveTrial, reader: EventReader) -> None:
    day = date(2024, 10, 1)
    trial.fill(day, 200)
    whole = (start_of(day), start_of(day) + 24 * HOUR)
    before = reader.events("AAPL", *whole, 1_000)
    is_over = Event()

    def read() -> int:
        times = 0
        while not is_over.is_set():
            assert reader.events("AAPL", *whole, 1_000) == before
            times += 1
        return times

    with ThreadPoolExecutor(3) as pool:
        readers = [pool.submit(read) for _ in range(3)]
        with trial.archive() as archive:
            try:
                for _ in range(15):
                    archive.archive_day(EVENTS, day)
                    archive.drop_day(EVENTS, day)
                    archive.restore_day(EVENTS, day)
            finally:
                is_over.set()
    assert len(before) == 50
    assert all(each.result() > 5 for each in readers)
