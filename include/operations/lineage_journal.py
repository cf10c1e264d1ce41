"""Lineage events on disk: every process appends, one reads on. Nobody who appends waits for a network.

At most two files of `limit` bytes: the journal and the one before it. A place in it is the number of bytes ever written
before it, so it holds over a change of files.
"""

from __future__ import annotations

import fcntl
import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from include.settings import Settings

LIMIT_BYTES = 16 * 2**20
LOCK_SECONDS = 0.5


class Stretch(NamedTuple):
    """Whole lines without their ends, the place behind them, and bytes that were gone before they were read."""

    lines: list[bytes]
    place: int
    lost: int


class Journal:
    """Safe for several processes. Every method may raise OSError."""

    def __init__(self, folder: Path, limit: int = LIMIT_BYTES) -> None:
        self.file = folder / "openlineage.jsonl"
        self._before = folder / "openlineage.jsonl.1"
        #: How many bytes were written before the journal's own first.
        self._base = folder / "base"
        self._lock = folder / "lock"
        self._limit = limit

    def append(self, *events: Mapping[str, Any]) -> None:
        """One line an event."""
        text = "".join(f"{json.dumps(event, separators=(',', ':'))}\n" for event in events).encode()
        with self._locked():
            if self._size(self.file) and self._size(self.file) + len(text) > self._limit:
                base = self._read_base() + self._size(self.file)
                self.file.replace(self._before)
                self._base.write_text(str(base))
            with self.file.open("ab") as file:
                file.write(text)

    def read(self, place: int, at_most: int = 2**20) -> Stretch:
        """Lines from a place on, about `at_most` bytes of them; from the oldest where the place is gone."""
        with self._locked():
            base, size = self._read_base(), self._size(self.file)
            oldest = base - self._size(self._before)
            if place > base + size:  # the folder was emptied
                place = oldest
            start = max(place, oldest)
            file, first = (self.file, base) if start >= base else (self._before, oldest)
            if not file.exists():
                return Stretch([], start, start - place)
            with file.open("rb") as opened:
                opened.seek(start - first)
                lines = opened.readlines(at_most)
        return Stretch([line.rstrip(b"\n") for line in lines], start + sum(map(len, lines)), start - place)

    def _read_base(self) -> int:
        return int(self._base.read_text()) if self._base.exists() else 0

    @staticmethod
    def _size(file: Path) -> int:
        return file.stat().st_size if file.exists() else 0

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self._lock.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with self._lock.open("ab") as lock:
            _take(lock.fileno())
            yield


def _take(lock: int) -> None:
    """It is held for a millisecond; whoever froze with it must not hold up Airflow's scheduler. Raises TimeoutError."""
    given_up = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > given_up:
                raise TimeoutError("the journal of lineage events is held by another process") from None
            time.sleep(0.005)


def journal_of(chosen: Settings) -> Journal:
    """The market's own. Raises SettingsError without MARKET."""
    return Journal(chosen.state_dir / "lineage")
