"""Facts on disk until Kafka has confirmed them: a broker's outage or a killed producer loses none.

SQLite in WAL mode: one file, no server, crash-safe by design, and two processes may use it at once.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import time
import zlib
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import structlog

from include.errors import PublishError
from include.producers.message import Message

log = structlog.get_logger(__name__)

#: Messages that are written, sent and deleted together.
SEGMENT_MESSAGES = 10_000
SEGMENT_BYTES = 16 * 1024 * 1024
BUSY_SECONDS = 10.0
_LOCK_POLL_SECONDS = 0.02
#: Of 32 KB, kept for the next batch.
_IDLE_PAGES = 1_024
_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
# FULL: the producer's watermark goes to a database that survives a power cut, and must not be ahead of this
# file; it costs half a millisecond a batch. Large pages halve the work for bodies of megabytes.
_SETUP = """
PRAGMA page_size = 32768;
PRAGMA auto_vacuum = INCREMENTAL;
PRAGMA journal_mode = WAL;
PRAGMA synchronous = FULL;
PRAGMA journal_size_limit = 16777216;
CREATE TABLE IF NOT EXISTS segments (
    id       INTEGER PRIMARY KEY,
    messages INTEGER NOT NULL,
    bytes    INTEGER NOT NULL,
    crc32    INTEGER NOT NULL,
    body     BLOB NOT NULL
);
"""
_INSERT = "INSERT INTO segments (id, messages, bytes, crc32, body) VALUES (?, ?, ?, ?, ?)"


class SpoolFull(PublishError):
    """Nothing of the batch was taken: the producer must not move its watermark."""


class Spool:
    """Messages of one producer job, in segments that are written, sent and deleted as one.

    Every method raises PublishError where the disk does not do its part.
    """

    def __init__(self, path: Path, max_megabytes: int) -> None:
        self._path = path
        self._max_bytes = max_megabytes * 1_000_000
        self._open()

    def append(self, batch: Sequence[Message]) -> dict[int, Sequence[Message]]:
        """All of the batch or nothing of it, as segments by id; what it returns survives a kill.

        Raises SpoolFull beyond the bound.
        """
        if not batch:
            return {}
        parts = list(_segments(batch))
        rows = [_row(part) for part in parts]
        size = sum(row[1] for row in rows)
        now_us = time.time_ns() // 1_000
        with self._transaction() as database:
            (held,) = database.execute("SELECT coalesce(sum(bytes), 0) FROM segments").fetchone()
            if held + size > self._max_bytes:
                raise SpoolFull(
                    f"the spool {self._path} is full: {held / 1e6:.1f} MB wait for Kafka and {size / 1e6:.1f} MB "
                    f"more do not fit; start Kafka, or raise SPOOL_MAX_MEGABYTES"
                )
            (last,) = database.execute("SELECT coalesce(max(id), 0) FROM segments").fetchone()
            # Times, so that no id comes twice, not even in the file that follows a damaged one.
            first = max(last + 1, now_us)
            ids = range(first, first + len(rows))
            database.executemany(_INSERT, [(id_, *row) for id_, row in zip(ids, rows, strict=True)])
        return dict(zip(ids, parts, strict=True))

    def waiting(self) -> list[int]:
        """The ids of the segments, oldest first."""
        with self._reading() as database:
            return [row[0] for row in database.execute("SELECT id FROM segments ORDER BY id")]

    def read(self, segment: int) -> Sequence[Message]:
        """Its messages in order; none if another process has sent and deleted it."""
        with self._reading() as database:
            row = database.execute("SELECT crc32, body FROM segments WHERE id = ?", (segment,)).fetchone()
        if row is None:
            return ()
        messages = _messages(*row)
        if messages is None:
            self._move_aside(f"segment {segment} is not what was written")
            return self.read(segment)
        return messages

    def settle(self, segment: int, left: Sequence[Message] = ()) -> None:
        """Keeps of the segment, in its place, what is `left`; without any it is deleted."""
        with self._transaction() as database:
            if left:
                database.execute(
                    "UPDATE segments SET messages = ?, bytes = ?, crc32 = ?, body = ? WHERE id = ?",
                    (*_row(left), segment),
                )
                return
            database.execute("DELETE FROM segments WHERE id = ?", (segment,))
            (idle,) = database.execute("PRAGMA freelist_count").fetchone()
        if idle > _IDLE_PAGES:
            # After an outage the disk gets its room back; otherwise the next batch uses it again. A script,
            # because `execute` takes one step of it and no more.
            with self._reading() as database:
                database.executescript("PRAGMA incremental_vacuum")

    def depth(self) -> int:
        """How many messages wait."""
        with self._reading() as database:
            return int(database.execute("SELECT coalesce(sum(messages), 0) FROM segments").fetchone()[0])

    @contextmanager
    def drainer(self, seconds: float) -> Iterator[bool]:
        """One process at a time sends: whether it is this one, after at most so long a wait."""
        # The kernel gives the lock back with the process, however that ends.
        descriptor = os.open(self._path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            yield _locked(descriptor, seconds)
        finally:
            os.close(descriptor)

    def close(self) -> None:
        self._database.close()

    def _open(self) -> None:
        """Opens the file, or begins one; a damaged one is moved aside first."""
        try:
            self._connect()
        except (sqlite3.DatabaseError, OSError) as error:
            if _code(error) not in _DAMAGED:
                raise _not_usable(self._path, error) from error
            self._move_aside(str(error))

    def _connect(self) -> None:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # SQLite gives its own files the mode of this one.
        os.close(os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600))
        self._inode = self._path.stat().st_ino
        self._database = sqlite3.connect(
            self._path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        self._database.executescript(_SETUP)
        if self._database.execute("PRAGMA quick_check(1)").fetchone() != ("ok",):
            raise _Damaged("the check of the file fails")

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """All or nothing, on the disk when it ends."""
        with self._reading() as database:
            database.execute("BEGIN IMMEDIATE")
            try:
                yield database
                database.execute("COMMIT")
            except BaseException:
                if database.in_transaction:
                    database.execute("ROLLBACK")
                raise

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        if not self._is_in_place():
            # Moved aside by another process, or deleted by a person: what went there would be lost.
            self._database.close()
            self._open()
        try:
            yield self._database
        except sqlite3.DatabaseError as error:
            if _code(error) in _DAMAGED:
                self._move_aside(str(error))
            raise _not_usable(self._path, error) from error

    def _is_in_place(self) -> bool:
        try:
            return self._path.stat().st_ino == self._inode
        except FileNotFoundError:
            return False

    def _move_aside(self, why: str) -> None:
        """Begins a new file with every segment that the damaged one still gives."""
        self._database.close()
        if not self._is_in_place():
            # Another process was quicker.
            self._connect()
            return
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%f")
        aside = self._path.with_name(f"{self._path.name}.damaged-{stamp}")
        for suffix in ("", "-wal", "-shm"):
            part = self._path.with_name(self._path.name + suffix)
            if part.exists():
                part.rename(aside.with_name(aside.name + suffix))
        self._connect()
        saved = 0
        for row in _salvaged(aside):
            saved += row[1]
            self._database.execute(_INSERT, row)
        log.error("spool.damaged", file=str(self._path), moved_to=str(aside), reason=why, saved=saved)


class MemorySpool:
    """The in-memory twin of `Spool`: survives nothing."""

    def __init__(self, max_messages: int = 1_000_000) -> None:
        self._segments: dict[int, Sequence[Message]] = {}
        self._last = 0
        self._max_messages = max_messages

    def append(self, batch: Sequence[Message]) -> dict[int, Sequence[Message]]:
        if self.depth() + len(batch) > self._max_messages:
            raise SpoolFull(f"the spool is full: {self.depth()} messages wait for Kafka")
        if not batch:
            return {}
        added = {self._last + number: part for number, part in enumerate(_segments(batch), 1)}
        self._last += len(added)
        self._segments |= added
        return added

    def waiting(self) -> list[int]:
        return sorted(self._segments)

    def read(self, segment: int) -> Sequence[Message]:
        return self._segments.get(segment, ())

    def settle(self, segment: int, left: Sequence[Message] = ()) -> None:
        if left:
            self._segments[segment] = list(left)
        else:
            self._segments.pop(segment, None)

    def depth(self) -> int:
        return sum(len(part) for part in self._segments.values())

    @contextmanager
    def drainer(self, seconds: float) -> Iterator[bool]:
        yield True

    def close(self) -> None:
        """Nothing to close."""


class _Damaged(sqlite3.DatabaseError):
    sqlite_errorcode = sqlite3.SQLITE_CORRUPT


def _segments(batch: Sequence[Message]) -> Iterator[Sequence[Message]]:
    if len(batch) <= SEGMENT_MESSAGES and sum(len(message.value) for message in batch) <= SEGMENT_BYTES:
        yield batch
        return
    part: list[Message] = []
    size = 0
    for message in batch:
        if part and (len(part) == SEGMENT_MESSAGES or size + len(message.value) > SEGMENT_BYTES):
            yield part
            part, size = [], 0
        part.append(message)
        size += len(message.value)
    yield part


def _row(messages: Sequence[Message]) -> tuple[int, int, int, bytes]:
    body = msgspec.msgpack.encode(messages)
    return len(messages), len(body), zlib.crc32(body), body


def _messages(crc32: int, body: bytes) -> list[Message] | None:
    """None where the bytes are not those that were written."""
    if zlib.crc32(body) != crc32:
        return None
    return msgspec.msgpack.decode(body, type=list[Message])


def _salvaged(damaged: Path) -> Iterator[tuple[int, int, int, int, bytes]]:
    """The segments that can be read, up to the first that stops SQLite."""
    try:
        with closing(sqlite3.connect(damaged)) as database:
            for row in database.execute("SELECT id, messages, bytes, crc32, body FROM segments ORDER BY id"):
                if zlib.crc32(row[4]) == row[3]:
                    yield row
    except sqlite3.DatabaseError as error:
        log.error("spool.salvage_ended", file=str(damaged), reason=str(error))


def _locked(descriptor: int, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                return False
            time.sleep(_LOCK_POLL_SECONDS)
        else:
            return True


def _code(error: Exception) -> int:
    """SQLite's primary result code; 0 for what it did not raise."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def _not_usable(path: Path, error: Exception) -> PublishError:
    return PublishError(f"the spool {path} cannot be used ({error}): is the disk full, or the folder not writable?")
