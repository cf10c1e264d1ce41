"""The spool on the real disk: killed, full, shared, damaged."""

from __future__ import annotations

import contextlib
import itertools
import multiprocessing
import os
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from include.errors import PublishError
from include.producers import spool as spool_module
from include.producers.message import Message
from include.producers.spool import MemorySpool, Spool, SpoolFull
from include.settings import PROJECT_ROOT


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "spool" / "job.sqlite"


def messages(*values: str) -> list[Message]:
    return [Message("topic", b"AAPL", value.encode(), [("source", "yahoo")]) for value in values]


def held(spool: Spool | MemorySpool) -> list[str]:
    return [message.value.decode().strip() for id_ in spool.waiting() for message in spool.read(id_)]


def append_for_ever(file: Path, first: int, key: str, said: Connection) -> None:
    """Batches of three; says the number of each when it has returned."""
    spool = Spool(file, 100)
    for number in itertools.count(first):
        value = str(number).encode()
        spool.append([Message("topic", key.encode(), value + b" " * size, []) for size in (0, 50, 5_000)])
        said.send(number)


class Writer:
    """Another process, killed when it is over. Forked: a dozen starts of an interpreter take seconds."""

    def __init__(self, file: Path, first: int, key: str = "k") -> None:
        context = multiprocessing.get_context("fork")
        self._said, child = context.Pipe(duplex=False)
        self._process = context.Process(target=append_for_ever, args=(file, first, key, child), daemon=True)
        self._process.start()
        child.close()

    def next(self) -> int:
        assert self._said.poll(30)
        return int(self._said.recv())

    def kill(self) -> int | None:
        """The last number that it said after the ones that were read."""
        self._process.kill()
        self._process.join()
        last = None
        with contextlib.suppress(EOFError):
            while True:
                last = int(self._said.recv())
        self._said.close()
        return last


@pytest.mark.parametrize("make", [lambda file: Spool(file, 1), lambda _: MemorySpool()], ids=["disk", "memory"])
def test_what_goes_in_comes_out_in_order_until_it_is_settled(
    make: Callable[[Path], Spool | MemorySpool], file: Path
) -> None:
    spool = make(file)
    (first,) = spool.append(messages("a", "b"))
    (second,) = spool.append(messages("c"))
    assert spool.append([]) == {}
    assert (spool.waiting(), spool.depth()) == ([first, second], 3)
    assert spool.read(first) == messages("a", "b")
    spool.settle(first, messages("b"))
    assert held(spool) == ["b", "c"]
    spool.settle(first)
    assert (held(spool), spool.read(first)) == (["c"], ())
    spool.close()


def test_the_next_process_finds_what_the_last_one_left(file: Path) -> None:
    spool = Spool(file, 1)
    spool.append(messages("a"))
    spool.close()
    assert held(Spool(file, 1)) == ["a"]


def test_only_the_owner_can_read_it(file: Path) -> None:
    spool = Spool(file, 1)
    spool.append(messages("a"))
    with spool.drainer(0):
        modes = {part.name: stat.S_IMODE(part.stat().st_mode) for part in file.parent.iterdir()}
    assert modes == dict.fromkeys(("job.sqlite", "job.sqlite-wal", "job.sqlite-shm", "job.lock"), 0o600)
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700


def test_a_large_batch_is_split_and_taken_as_one(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool_module, "SEGMENT_MESSAGES", 2)
    spool = Spool(file, 1)
    parts = spool.append(messages("a", "b", "c", "d", "e"))
    assert [len(part) for part in parts.values()] == [2, 2, 1]
    assert held(spool) == ["a", "b", "c", "d", "e"]
    with pytest.raises(SpoolFull):
        spool.append(messages("f", "x" * 1_000_000))
    assert held(spool) == ["a", "b", "c", "d", "e"]


def test_a_full_spool_takes_nothing_of_the_batch_and_says_what_to_do(file: Path) -> None:
    spool = Spool(file, 1)
    (first,) = spool.append(messages("x" * 600_000))
    with pytest.raises(SpoolFull, match=r"is full: 0.6 MB wait .* 0.5 MB more .* SPOOL_MAX_MEGABYTES"):
        spool.append(messages("y" * 500_000))
    assert spool.waiting() == [first]
    spool.settle(first)
    assert spool.append(messages("y" * 500_000))


def test_nothing_that_was_taken_is_lost_by_a_kill(file: Path) -> None:
    """Killed at twelve different moments; whatever was said to be taken is there, whole and in order."""
    said = -1
    for life in range(12):
        writer = Writer(file, said + 1)
        for _ in range(life * 2 + 1):
            said = writer.next()
        said = writer.kill() or said
        spool = Spool(file, 100)
        numbers = [int(value) for value in held(spool)]
        spool.close()
        last = numbers[-1]
        assert numbers == [number for number in range(last + 1) for _ in range(3)]
        # A kill may fall between the commit and the word of it, never the other way round.
        assert last in (said, said + 1)
        said = last


def test_two_processes_share_one_file(file: Path) -> None:
    both = [Writer(file, 0, key) for key in ("one", "two")]
    for writer in both:
        assert [writer.next() for _ in range(10)] == list(range(10))
    for writer in both:
        writer.kill()
    spool = Spool(file, 100)
    found = [(message.key, int(message.value)) for id_ in spool.waiting() for message in spool.read(id_)]
    for key in (b"one", b"two"):
        numbers = [number for of, number in found if of == key]
        assert numbers == sorted(numbers)
        assert len(numbers) >= 30


def test_one_at_a_time_drains(file: Path) -> None:
    mine, other = Spool(file, 1), Spool(file, 1)
    with mine.drainer(0) as first, other.drainer(0.05) as second:
        assert (first, second) == (True, False)
    with other.drainer(0) as now:
        assert now


def damage(file: Path, at: int, length: int) -> None:
    with file.open("r+b") as raw:
        raw.seek(at)
        raw.write(os.urandom(length))


def closed_spool(file: Path) -> None:
    """Five segments in the file itself, none in the log beside it."""
    spool = Spool(file, 10)
    for letter in "abcde":
        spool.append(messages(letter * 200_000))
    spool.close()


def test_a_file_that_is_none_is_moved_aside_and_a_new_one_begun(file: Path) -> None:
    closed_spool(file)
    damage(file, 0, 100_000)
    spool = Spool(file, 10)
    spool.append(messages("new"))
    assert held(spool) == ["new"]
    assert len(list(file.parent.glob("job.sqlite.damaged-*"))) == 1


def test_what_is_whole_in_a_damaged_file_goes_on(file: Path) -> None:
    closed_spool(file)
    # In the middle of a body: SQLite itself does not notice.
    damage(file, file.read_bytes().index(b"c" * 30_000) + 20_000, 10)
    spool = Spool(file, 10)
    before = spool.waiting()
    values = held(spool)
    assert [value[0] for value in values] == ["a", "b", "d", "e"]
    assert spool.waiting() == [id_ for number, id_ in enumerate(before) if number != 2]
    assert len(list(file.parent.glob("job.sqlite.damaged-*"))) == 1


def test_a_file_that_is_gone_is_not_written_to(file: Path) -> None:
    spool = Spool(file, 1)
    spool.append(messages("a"))
    for part in list(file.parent.iterdir()):
        part.unlink()
    spool.append(messages("b"))
    assert held(Spool(file, 1)) == ["b"]


FULL_DISK = """
import resource, signal, sys
from pathlib import Path
from include.errors import PublishError
from include.producers.message import Message
from include.producers.spool import Spool
spool = Spool(Path(sys.argv[1]), 100)
spool.append([Message("topic", b"k", b"first", [])])
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000))
try:
    spool.append([Message("topic", b"k", b"x" * 2_000_000, [])])
except PublishError as error:
    print(type(error).__name__, spool.depth())
"""


def test_a_full_disk_is_an_error_and_costs_nothing_that_was_taken(file: Path) -> None:
    command = [sys.executable, "-c", FULL_DISK, str(file)]
    ran = subprocess.run(command, capture_output=True, text=True, cwd=PROJECT_ROOT)
    assert ran.stdout == "PublishError 1\n", ran.stderr
    assert held(Spool(file, 1)) == ["first"]


def test_a_folder_that_cannot_be_made_is_an_error_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "spool").write_text("a file where the folder should be")
    with pytest.raises(PublishError, match="cannot be used"):
        Spool(tmp_path / "spool" / "job.sqlite", 1)


def test_room_goes_back_to_the_disk_after_an_outage(file: Path) -> None:
    spool = Spool(file, 100)
    for _ in range(5):
        spool.append(messages("x" * 15_000_000))
    for segment in spool.waiting():
        spool.settle(segment)
    with sqlite3.connect(file) as database:
        pages = database.execute("PRAGMA page_count").fetchone()[0]
    assert pages * 32_768 < 45_000_000
