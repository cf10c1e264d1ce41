"""Recorded days laid end to end in a loop, and where the loop stands at a moment.

The mapping is a constant shift, in whole minutes, for the whole of a recorded day and for all
symbols; the time between two recorded days is left out.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np

from include.errors import SettingsError
from include.sandbox.bars import MINUTE, Bars
from include.sandbox.market import Segment, iso

#: Recorded time of day at which the clock stands when a replay is started for the first time: the
#: American market has been open for two hours then, and the European one is open too.
FIRST_HOUR, FIRST_MINUTE = 15, 30
HOUR = 3600


@dataclass(frozen=True, slots=True)
class RecordedDay:
    """A day from its first minute to the end of its last one over all symbols; epoch seconds."""

    day: date
    start: int
    end: int
    symbols: frozenset[str]


@dataclass(frozen=True, slots=True)
class Anchor:
    """The wall-clock minute `wall` replays the recorded minute `recorded`; epoch seconds."""

    wall: int
    recorded: int


class Timeline:
    """The loop of recorded days, fixed to the wall clock by an anchor."""

    def __init__(self, days: Sequence[RecordedDay], anchor: Anchor) -> None:
        self._days = days
        self._length = sum(day.end - day.start for day in days)
        before = 0
        for day in days:
            if day.start <= anchor.recorded < day.end:
                #: The wall-clock second at which the first lap after the epoch begins; laps are
                #: counted from it, so that their numbers do not depend on when anyone looks.
                self._lap_start = (anchor.wall - before - (anchor.recorded - day.start)) % self._length
                return
            before += day.end - day.start
        raise SettingsError(f"REPLAY_DATA_DIR has no recording of {iso(anchor.recorded)}")

    def segments(self, start: int, end: int) -> Iterator[Segment]:
        """The replayed days that overlap [start, end), whole, oldest first."""
        lap = (start - self._lap_start) // self._length
        wall = self._lap_start + lap * self._length
        while wall < end:
            for day in self._days:
                length = day.end - day.start
                if wall < end and wall + length > start:
                    yield Segment(day.day.isoformat(), day.start, day.end, wall - day.start)
                wall += length

    def recorded(self, wall: int) -> tuple[int, int]:
        """(lap, recorded second) that is replayed at this wall-clock second."""
        lap, into = divmod(wall - self._lap_start, self._length)
        for day in self._days:
            length = day.end - day.start
            if into < length:
                return lap, day.start + into
            into -= length
        raise AssertionError("a lap is as long as its days")

    def replayed(self, lap: int, recorded: int) -> int:
        """The wall-clock second at which this lap replays a recorded second; the inverse of `recorded`."""
        wall = self._lap_start + lap * self._length
        for day in self._days:
            if day.start <= recorded < day.end:
                return wall + recorded - day.start
            wall += day.end - day.start
        raise ValueError(f"{iso(recorded)} is not recorded")


def recorded_days(bars: Mapping[str, Bars], zone: str) -> list[RecordedDay]:
    """The days, in the time zone `zone`, on which any symbol has a bar, oldest first."""
    starts: dict[date, list[int]] = {}
    ends: dict[date, list[int]] = {}
    traded: dict[date, set[str]] = {}
    for symbol, columns in bars.items():
        for day, first, last in _days_of(columns, ZoneInfo(zone)):
            starts.setdefault(day, []).append(first)
            ends.setdefault(day, []).append(last + MINUTE)
            traded.setdefault(day, set()).add(symbol)
    return [RecordedDay(day, min(starts[day]), max(ends[day]), frozenset(traded[day])) for day in sorted(starts)]


def first_minute(days: Sequence[RecordedDay], wanted: Collection[str]) -> int:
    """Where a replay starts: the last day of the longest run with the most of the wanted symbols."""
    most = max(len(day.symbols.intersection(wanted)) for day in days)
    longest: list[RecordedDay] = []
    for run in _runs(day for day in days if len(day.symbols.intersection(wanted)) == most):
        # Of two equally long runs the newer one.
        if len(run) >= len(longest):
            longest = run
    last = longest[-1]
    usual = datetime(last.day.year, last.day.month, last.day.day, FIRST_HOUR, FIRST_MINUTE, tzinfo=UTC)
    if last.start <= usual.timestamp() < last.end:
        return int(usual.timestamp())
    middle = (last.start + last.end) // 2
    return middle - middle % MINUTE


def load_anchor(file: Path, days: Sequence[RecordedDay], wanted: Collection[str], now: float) -> Anchor:
    """The anchor written at the first start, so that history never moves; written now if there is none.

    Raises SettingsError if the recordings are no longer those it was made for.
    """
    print_ = _fingerprint(days)
    if file.exists():
        written = json.loads(file.read_text(encoding="utf-8"))
        if written["recordings"] != print_:
            raise SettingsError(
                "REPLAY_DATA_DIR: the recorded days are not those that this replay was started with: "
                "put them back, or begin anew with ./pipeline reset"
            )
        return Anchor(_seconds(written["wall"]), _seconds(written["recorded"]))
    wall = int(now) - int(now) % MINUTE
    anchor = Anchor(wall, first_minute(days, wanted))
    document = {"wall": iso(anchor.wall), "recorded": iso(anchor.recorded), "recordings": print_}
    file.parent.mkdir(parents=True, exist_ok=True)
    unfinished = file.with_suffix(".new")
    unfinished.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    unfinished.replace(file)
    return anchor


def _days_of(columns: Bars, zone: ZoneInfo) -> Iterator[tuple[date, int, int]]:
    """(day, first start, last start) for each day of one symbol; bars are looked up by the hour."""
    hours = columns.start - columns.start % HOUR
    firsts = np.flatnonzero(np.diff(hours, prepend=hours[0] - 1))
    lasts = np.append(firsts[1:], len(hours)) - 1
    for first, last in zip(columns.start[firsts].tolist(), columns.start[lasts].tolist(), strict=True):
        yield datetime.fromtimestamp(first, zone).date(), first, last


def _runs(days: Iterable[RecordedDay]) -> Iterator[list[RecordedDay]]:
    """Groups of days with nothing but a weekend between them."""
    run: list[RecordedDay] = []
    for day in days:
        if run and _next_trading_day(run[-1].day) < day.day:
            yield run
            run = []
        run.append(day)
    if run:
        yield run


def _next_trading_day(day: date) -> date:
    following = day + timedelta(days=1)
    while following.weekday() >= 5:
        following += timedelta(days=1)
    return following


def _fingerprint(days: Sequence[RecordedDay]) -> str:
    return hashlib.sha256(json.dumps([[day.start, day.end] for day in days]).encode()).hexdigest()[:16]


def _seconds(stamp: str) -> int:
    return int(datetime.fromisoformat(stamp).timestamp())
