"""Days on their way to Parquet and back, on the real server: whole, verified, and never gone before."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from decimal import Decimal
from itertools import count
from multiprocessing import get_context
from pathlib import Path

import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from include.storage.archive import Archive
from include.storage.archive_catalogue import ArchiveError, DayIsCold, refuse_cold
from include.storage.archive_files import sha256_of
from tests.integration.archive_days import EVENTS, RESULTS, ArchiveTrial, archive_trial, start_of
from tests.integration.archive_death import archive_and_die
from tests.stores import Services

#: Each test has a day of its own.
_days = (date(2024, 1, 1) + timedelta(days=number) for number in count())


@pytest.fixture(scope="module")
def trial(services: Services, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ArchiveTrial]:
    with archive_trial(services, tmp_path_factory.mktemp("archive")) as made:
        yield made


@pytest.fixture
def archive(trial: ArchiveTrial) -> Iterator[Archive]:
    with trial.archive() as opened:
        yield opened


@pytest.fixture
def day() -> date:
    return next(_days)


def test_a_day_goes_to_a_file_and_comes_back_to_the_last_digit(
    trial: ArchiveTrial, archive: Archive, day: date
) -> None:
    trial.fill(day)
    trial.revise(day)
    before = trial.content(day)
    part = archive.archive_day(EVENTS, day)
    assert part is not None
    assert (part.part, part.rows, part.file) == (1, len(before), f"{EVENTS}/day={day}/part-0001.parquet")
    assert part.file_sha256 == sha256_of(trial.folder / part.file)
    assert part.bytes == (trial.folder / part.file).stat().st_size
    # What a person would compare at psql.
    summed = f"SELECT sum(hash_record_extended(p, 0)) FROM market.{trial.partition(EVENTS, day)} p"
    assert trial.rows(summed) == [(part.checksum,)]
    assert trial.content(day) == before, "warm: the rows are still there"

    assert archive.drop_day(EVENTS, day) == len(before)
    assert trial.content(day) == []
    (cold,) = trial.parts(day)
    assert cold.is_cold
    assert cold.checksum == part.checksum

    assert archive.restore_day(EVENTS, day) == len(before)
    assert trial.content(day) == before
    (warm,) = trial.parts(day)
    assert (warm.is_cold, warm.file, warm.verified_at > warm.archived_at) == (False, part.file, True)


def test_the_file_has_exact_types_and_is_in_the_order_of_the_questions(
    trial: ArchiveTrial, archive: Archive, day: date
) -> None:
    trial.fill(day)
    archive.archive_day(EVENTS, day)
    file = trial.folder / EVENTS / f"day={day}" / "part-0001.parquet"
    schema = pq.read_schema(file)
    assert schema.field("close").type == pa.decimal128(18, 8)
    assert schema.field("volume").type == pa.decimal128(28, 8)
    assert schema.field("event_time").type == pa.timestamp("us", tz="UTC")
    assert pq.ParquetFile(file).metadata.row_group(0).column(0).compression == "ZSTD"
    rows = pq.read_table(file)
    keys = [(row["symbol"], row["event_time"]) for row in rows.select(["symbol", "event_time"]).to_pylist()]
    assert keys == sorted(keys)
    assert {symbol for symbol, _ in keys} == {"AAPL", "BRK-B", "NA", "BTC-USD"}
    assert rows["volume"].null_count == sum(1 for number in range(2_000) if number % 3 == 0)
    assert max(rows["close"].to_pylist()) == Decimal("1234569889.12345678")


def test_results_of_checks_go_the_same_way_with_every_odd_text_and_figure(
    trial: ArchiveTrial, archive: Archive, day: date
) -> None:
    trial.fill(day, 20_000, RESULTS)  # more than the CSV reader takes at once
    before = trial.content(day, RESULTS)
    assert archive.archive_day(RESULTS, day) is not None
    archive.drop_day(RESULTS, day)
    assert trial.content(day, RESULTS) == []
    archive.restore_day(RESULTS, day)
    assert trial.content(day, RESULTS) == before


def test_a_second_run_changes_nothing(trial: ArchiveTrial, archive: Archive, day: date) -> None:
    trial.fill(day)
    archive.archive_day(EVENTS, day)
    first = trial.parts(day), trial.files(day), (trial.folder / trial.parts(day)[0].file).stat().st_mtime_ns
    assert archive.archive_day(EVENTS, day) is None
    assert (trial.parts(day), trial.files(day), (trial.folder / trial.parts(day)[0].file).stat().st_mtime_ns) == first


def test_a_slice_at_a_time_makes_the_same_file_rows(
    trial: ArchiveTrial, archive: Archive, day: date, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("include.storage.archive_files.SLICE_ROWS", 300)
    trial.fill(day)
    part = archive.archive_day(EVENTS, day)
    assert part is not None
    assert pq.ParquetFile(trial.folder / part.file).num_row_groups == 7
    before = trial.content(day)
    archive.drop_day(EVENTS, day)
    archive.restore_day(EVENTS, day)
    assert trial.content(day) == before


def test_a_day_without_rows_needs_no_file(trial: ArchiveTrial, archive: Archive, day: date) -> None:
    archive.make_partitions(EVENTS, [day])
    assert archive.archive_day(EVENTS, day) is None
    assert archive.drop_day(EVENTS, day) == 0
    assert (trial.parts(day), trial.files(day)) == ([], [])
    assert (EVENTS, day) not in {(held.relation, held.day) for held in archive.partitions()}


def test_a_day_that_no_file_has_is_not_dropped(trial: ArchiveTrial, archive: Archive, day: date) -> None:
    trial.fill(day)
    with pytest.raises(ArchiveError, match=f"{EVENTS} of {day} is not dropped: PostgreSQL has 2000 rows.*no file"):
        archive.drop_day(EVENTS, day)
    assert len(trial.content(day)) == 2_000


def test_a_flipped_byte_in_the_file_keeps_the_rows(trial: ArchiveTrial, archive: Archive, day: date) -> None:
    trial.fill(day)
    part = archive.archive_day(EVENTS, day)
    assert part is not None
    flip_a_byte(trial.folder / part.file)
    for act in (archive.drop_day, archive.archive_day):
        with pytest.raises(ArchiveError, match=f"{EVENTS} of {day}, part 1: the file .* is damaged"):
            act(EVENTS, day)
    assert len(trial.content(day)) == 2_000
    assert trial.parts(day) == [part]


def test_a_file_that_is_gone_keeps_the_rows(trial: ArchiveTrial, archive: Archive, day: date) -> None:
    trial.fill(day)
    part = archive.archive_day(EVENTS, day)
    assert part is not None
    (trial.folder / part.file).unlink()
    with pytest.raises(ArchiveError, match="is gone"):
        archive.drop_day(EVENTS, day)
    assert len(trial.content(day)) == 2_000


@pytest.mark.parametrize(
    ("change", "gone"),
    [
        ("DELETE FROM {} WHERE kafka_offset = 7", 1),
        ("UPDATE {} SET close = close + 0.00000001 WHERE kafka_offset IN (7, 8)", 2),
        ("UPDATE {} SET volume = 0 WHERE volume IS NULL", 667),
    ],
    ids=["a missing row", "an altered digit", "a filled void"],
)
def test_rows_changed_behind_the_files_back_keep_the_day(
    trial: ArchiveTrial, archive: Archive, day: date, change: str, gone: int
) -> None:
    trial.fill(day)
    part = archive.archive_day(EVENTS, day)
    trial.rows(change.format(f"market.{trial.partition(EVENTS, day)}"))
    before = trial.content(day)
    with pytest.raises(ArchiveError, match=f"{EVENTS} of {day} is not dropped"):
        archive.drop_day(EVENTS, day)
    with pytest.raises(ArchiveError, match=f"{EVENTS} of {day}, part 1: {gone} of its rows are not in PostgreSQL"):
        archive.archive_day(EVENTS, day)
    assert trial.content(day) == before
    assert trial.parts(day) == [part]


def test_rows_that_came_since_are_archived_before_the_day_goes(
    trial: ArchiveTrial, archive: Archive, day: date
) -> None:
    trial.fill(day)
    first = archive.archive_day(EVENTS, day)
    trial.revise(day)
    before = trial.content(day)
    with pytest.raises(ArchiveError, match="is not dropped"):
        archive.drop_day(EVENTS, day)
    anew = archive.archive_day(EVENTS, day)
    assert first is not None
    assert anew is not None
    assert (anew.part, anew.rows, anew.archived_at) == (2, len(before), first.archived_at)
    assert trial.parts(day) == [anew]
    assert trial.files(day) == ["part-0002.parquet"]
    archive.drop_day(EVENTS, day)
    archive.restore_day(EVENTS, day)
    assert trial.content(day) == before


def test_rows_of_a_cold_day_become_a_further_part_and_one_again_when_it_comes_back(
    trial: ArchiveTrial, archive: Archive, day: date
) -> None:
    trial.fill(day, 100)
    before = trial.content(day)
    archive.archive_day(EVENTS, day)
    archive.drop_day(EVENTS, day)
    # Ten of them are deliveries of facts that the cold file has: the first delivery is the one that counts.
    trial.fill(day, 20, first=90)
    trial.rows("UPDATE market_events SET source = 'binance' WHERE event_time::date = %s", day)
    new = [row for row in trial.content(day) if int(row.split(",")[0].rsplit(":", 1)[1]) >= 100]
    assert len(new) == 10
    second = archive.archive_day(EVENTS, day)
    assert second is not None
    archive.drop_day(EVENTS, day)
    assert [(part.part, part.rows, part.is_cold) for part in trial.parts(day)] == [(1, 100, True), (2, 20, True)]

    assert archive.restore_day(EVENTS, day) == 110
    assert trial.content(day) == sorted(before + new)
    assert [(part.part, part.rows, part.is_cold) for part in trial.parts(day)] == [(3, 110, False)]
    assert trial.files(day) == ["part-0003.parquet"]
    archive.drop_day(EVENTS, day)


def test_a_damaged_file_brings_nothing_back(trial: ArchiveTrial, archive: Archive, day: date) -> None:
    trial.fill(day)
    archive.archive_day(EVENTS, day)
    archive.drop_day(EVENTS, day)
    (part,) = trial.parts(day)
    flip_a_byte(trial.folder / part.file)
    with pytest.raises(ArchiveError, match="is damaged"):
        archive.restore_day(EVENTS, day)
    assert trial.content(day) == []
    assert trial.parts(day) == [part]


def test_only_a_cold_day_comes_back(trial: ArchiveTrial, archive: Archive, day: date) -> None:
    trial.fill(day)
    archive.archive_day(EVENTS, day)
    with pytest.raises(ArchiveError, match="nothing to restore"):
        archive.restore_day(EVENTS, day)


#: Every step of each act, and whether the act counts as done when the process dies just behind it.
STEPS = [
    ("archive_day", "counted", False),
    ("archive_day", "written", False),
    ("archive_day", "verified", False),
    ("archive_day", "catalogued", False),
    ("archive_day", "committed", True),
    ("drop_day", "compared", False),
    ("drop_day", "detached", False),
    ("drop_day", "dropped", False),
    ("restore_day", "brought back", False),
    ("restore_day", "restored", False),
    ("restore_day", "committed", True),
]


@pytest.mark.parametrize(("act", "step", "is_done"), STEPS, ids=[f"{act} {step}" for act, step, _ in STEPS])
def test_a_crash_at_any_step_loses_nothing_and_the_next_run_goes_on(
    trial: ArchiveTrial, archive: Archive, day: date, act: str, step: str, is_done: bool
) -> None:
    trial.fill(day, 500)
    before = trial.content(day)
    acts = ["archive_day", "drop_day", "restore_day"]
    for earlier in acts[: acts.index(act)]:
        getattr(archive, earlier)(EVENTS, day)
    stood = trial.parts(day), trial.content(day)
    process = get_context("spawn").Process(
        target=archive_and_die, args=(trial.owner_url, trial.folder, act, EVENTS, day, step)
    )
    process.start()
    process.join(60)
    assert process.exitcode == 9, "it came to that step"
    if is_done:
        assert trial.parts(day) != stood[0]
    else:
        assert (trial.parts(day), trial.content(day)) == stood
        getattr(archive, act)(EVENTS, day)
    # What the crash left does not stand in the way of the whole journey.
    for later in acts[acts.index(act) + 1 :]:
        getattr(archive, later)(EVENTS, day)
    assert trial.content(day) == before
    (part,) = trial.parts(day)
    assert (part.rows, part.is_cold) == (500, act == "never")
    assert sha256_of(trial.folder / part.file) == part.file_sha256


def test_a_crash_in_the_middle_of_a_file_leaves_no_file_of_that_name(
    trial: ArchiveTrial, archive: Archive, day: date
) -> None:
    trial.fill(day)
    folder = trial.folder / EVENTS / f"day={day}"
    folder.mkdir(parents=True)
    (folder / "part-0001.unfinished").write_bytes(b"PAR1 and no more")
    archive.archive_day(EVENTS, day)
    assert trial.files(day) == ["part-0001.parquet"]


def test_a_file_that_the_catalogue_does_not_know_is_never_written_over(
    trial: ArchiveTrial, archive: Archive, day: date
) -> None:
    """It may be all that is left of a database that was lost."""
    trial.fill(day)
    folder = trial.folder / EVENTS / f"day={day}"
    folder.mkdir(parents=True)
    (folder / "part-0001.parquet").write_bytes(b"of another life")
    part = archive.archive_day(EVENTS, day)
    assert part is not None
    assert part.part == 2
    assert (folder / "part-0001.parquet").read_bytes() == b"of another life"


def test_two_hands_never_work_on_one_day(trial: ArchiveTrial, archive: Archive, day: date) -> None:
    trial.fill(day)

    refused: list[str] = []

    def meanwhile(step: str) -> None:
        if step == "verified":
            with trial.archive() as other, pytest.raises(psycopg.errors.LockNotAvailable):
                other.archive_day(EVENTS, day)
            refused.append(step)

    with trial.archive(meanwhile) as first:
        first.archive_day(EVENTS, day)
    assert refused == ["verified"]
    assert len(trial.parts(day)) == 1


def test_rows_that_come_while_a_day_is_archived_are_for_the_next_run(trial: ArchiveTrial, day: date) -> None:
    trial.fill(day, 100)

    def meanwhile(step: str) -> None:
        if step == "counted" and len(trial.content(day)) == 100:
            trial.fill(day, 5, first=100)

    with trial.archive(meanwhile) as archive:
        parts = [archive.archive_day(EVENTS, day), archive.archive_day(EVENTS, day)]
    assert [part.rows for part in parts if part] == [100, 105]


def test_nobody_writes_to_a_day_between_its_comparison_and_its_end(
    trial: ArchiveTrial, archive: Archive, day: date
) -> None:
    trial.fill(day)
    archive.archive_day(EVENTS, day)
    refused: list[str] = []

    def meanwhile(step: str) -> None:
        if step == "compared":
            with psycopg.connect(trial.writer_url, options="-c lock_timeout=100ms") as writer:
                writer.execute("SELECT 1 FROM market_events LIMIT 1")  # others read on
                with pytest.raises(psycopg.errors.LockNotAvailable):
                    writer.execute(
                        "INSERT INTO market_events SELECT event_id || 'x', symbol, asset_class, source, kind, "
                        "event_time, interval_seconds, open, high, low, close, volume, currency, ingested_at "
                        "FROM market_events WHERE event_time >= %s ORDER BY event_time LIMIT 1",
                        (start_of(day),),
                    )
            refused.append(step)

    with trial.archive(meanwhile) as other:
        other.drop_day(EVENTS, day)
    assert refused == ["compared"]


def test_a_column_that_came_since_is_archived_too(trial: ArchiveTrial, archive: Archive, day: date) -> None:
    trial.fill(day)
    archive.archive_day(EVENTS, day)
    cold_day = next(_days)
    trial.fill(cold_day)
    archive.archive_day(EVENTS, cold_day)
    archive.drop_day(EVENTS, cold_day)
    trial.rows("ALTER TABLE market.market_events ADD COLUMN venue text")
    try:
        trial.rows(f"UPDATE market.{trial.partition(EVENTS, day)} SET venue = 'X'")
        with pytest.raises(ArchiveError, match="is not dropped"):
            archive.drop_day(EVENTS, day)
        anew = archive.archive_day(EVENTS, day)
        assert anew is not None
        assert pq.read_table(trial.folder / anew.file)["venue"].to_pylist() == ["X"] * 2_000
        # And a file from before it can still be brought back.
        assert archive.restore_day(EVENTS, cold_day) == 2_000
    finally:
        trial.rows("ALTER TABLE market.market_events DROP COLUMN venue")


def test_days_that_are_cold_are_refused_by_name(trial: ArchiveTrial, archive: Archive, day: date) -> None:
    def refuse(first: date, last: date) -> None:
        with psycopg.connect(trial.writer_url) as connection:
            refuse_cold(connection, EVENTS, first, last)

    trial.fill(day, 10)
    archive.archive_day(EVENTS, day)
    refuse(day, day)
    archive.drop_day(EVENTS, day)
    with pytest.raises(DayIsCold, match=f"{EVENTS} of {day}: .*./pipeline archive restore {day}"):
        refuse(day, day + timedelta(days=3))
    refuse(day + timedelta(days=1), day + timedelta(days=3))
    archive.restore_day(EVENTS, day)
    refuse(day, day)


def flip_a_byte(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
