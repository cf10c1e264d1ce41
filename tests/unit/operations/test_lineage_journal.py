"""The journal of lineage events: nothing twice, nothing lost while it is read in time, never more than two files."""

from __future__ import annotations

import fcntl
import json
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest

from include.operations import lineage_journal
from include.operations.lineage_journal import Journal


def numbers(lines: list[bytes]) -> list[int]:
    return [json.loads(line)["n"] for line in lines]


def test_what_is_appended_is_read_once_from_place_to_place(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "lineage")
    assert journal.read(0) == ([], 0, 0)
    journal.append({"n": 1}, {"n": 2})
    lines, place, _ = journal.read(0)
    assert numbers(lines) == [1, 2]
    journal.append({"n": 3})
    lines, end, lost = journal.read(place)
    assert (numbers(lines), lost) == ([3], 0)
    assert journal.read(end) == ([], end, 0)


def test_a_reader_that_keeps_up_misses_nothing_over_changes_of_the_file(tmp_path: Path) -> None:
    journal = Journal(tmp_path, limit=100)
    place, seen = 0, []
    for n in range(200):
        journal.append({"n": n})
        if n % 7 == 0:
            while (stretch := journal.read(place, at_most=30)).lines:
                assert stretch.lost == 0
                seen += numbers(stretch.lines)
                place = stretch.place
            assert seen[-1] == n
    assert seen == list(range(197))
    assert max(file.stat().st_size for file in tmp_path.iterdir()) <= 100
    assert len(list(tmp_path.glob("openlineage*"))) == 2


def test_a_reader_that_is_too_late_is_told_how_much_is_gone(tmp_path: Path) -> None:
    journal = Journal(tmp_path, limit=100)
    for n in range(100):
        journal.append({"n": n})
    lines, place, lost = journal.read(0)
    first = numbers(lines)[0]
    assert lost == sum(len(json.dumps({"n": n}, separators=(",", ":"))) + 1 for n in range(first))
    rest = journal.read(place)
    assert numbers(lines) + numbers(rest.lines) == list(range(first, 100))


def test_a_folder_that_was_emptied_is_begun_again(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.append({"n": 1, "text": "longer"})
    _, place, _ = journal.read(0)
    for file in tmp_path.iterdir():
        file.unlink()
    journal.append({"n": 2})
    assert numbers(journal.read(place).lines) == [2]


def test_an_event_larger_than_a_file_is_kept(tmp_path: Path) -> None:
    journal = Journal(tmp_path, limit=10)
    journal.append({"n": 1, "text": "long" * 10})
    assert numbers(journal.read(0).lines) == [1]


def write(folder: Path, first: int) -> None:
    journal = Journal(folder, limit=40_000)
    for n in range(first, first + 200):
        journal.append({"n": n})


def test_several_processes_tear_no_line(tmp_path: Path) -> None:
    with ProcessPoolExecutor(3, mp_context=get_context("spawn")) as pool:
        list(pool.map(write, [tmp_path] * 3, [0, 1_000, 2_000]))
    journal, place, seen = Journal(tmp_path), 0, []
    while (stretch := journal.read(place)).lines:
        seen += numbers(stretch.lines)
        place = stretch.place
    assert sorted(seen) == [first + n for first in (0, 1_000, 2_000) for n in range(200)]


def test_whoever_froze_with_the_lock_holds_nobody_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lineage_journal, "LOCK_SECONDS", 0.05)
    journal = Journal(tmp_path)
    with (tmp_path / "lock").open("ab") as frozen:
        fcntl.flock(frozen, fcntl.LOCK_EX)
        with pytest.raises(TimeoutError, match="held by another process"):
            journal.append({"n": 1})
    journal.append({"n": 2})
    assert numbers(journal.read(0).lines) == [2]
