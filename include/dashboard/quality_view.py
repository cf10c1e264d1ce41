"""What the quality page asks the database, and what it goes on showing while that does not answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from include.dashboard.selection import SPAN_LENGTHS, QualitySelection, parse_quality_selection
from include.storage.quality_reads import QualityReads
from include.storage.quality_rows import (
    ArchiveDays,
    Change,
    CheckResult,
    HeldEvent,
    RatePoint,
    Run,
    SeriesPoint,
)
from include.storage.read_connections import DatabaseUnavailable

#: Steps of a course by span: every run of a day, every hour of a week.
RATE_STEPS = {"24h": 144, "7d": 168}
#: Fewer where a step is a cell of a strip that must fit a phone.
STRIP_STEPS = {"24h": 72, "7d": 84}
#: So many answers are remembered, of the selections asked for last.
REMEMBERED = 16


@dataclass(frozen=True, slots=True)
class Picture:
    """All that the page shows, as of `now`; `reachable` is false if it is what was known before an outage.

    `run` is the chosen run or None where there is none; `results` may be empty where they are in the archive.
    """

    now: datetime
    reachable: bool = True
    newest: Run | None = None
    unfinished: Run | None = None
    run: Run | None = None
    older: str | None = None
    newer: str | None = None
    results: Sequence[CheckResult] = ()
    before: Run | None = None
    changes: Sequence[Change] = ()
    rates: Sequence[RatePoint] = ()
    series: Sequence[SeriesPoint] = ()
    held: Sequence[HeldEvent] = ()
    held_count: int = 0
    archive: Sequence[ArchiveDays] = ()
    is_known: bool = False

    @property
    def checks(self) -> list[CheckResult]:
        """Of the run, without the measures of symbols."""
        return [each for each in self.results if each.symbol is None]

    @property
    def measures(self) -> list[CheckResult]:
        return [each for each in self.results if each.symbol is not None]

    @property
    def version(self) -> str:
        """Equal while there is nothing new to draw."""
        return str(hash(repr(replace(self, now=datetime.min))))


class QualityView:
    """Reads for the page. `airflow_url` is where Airflow's pages are."""

    def __init__(
        self,
        symbols: Sequence[str],
        reader: QualityReads,
        airflow_url: str,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.symbols = tuple(symbols)
        self.airflow_url = airflow_url
        self._reader = reader
        self._clock = clock
        self._known: dict[QualitySelection, Picture] = {}

    def select(self, search: str | None) -> QualitySelection:
        return parse_quality_selection(search, self.symbols)

    def picture(self, selection: QualitySelection) -> Picture:
        """Everything of the selection now, or as it was known last."""
        now = self._clock()
        try:
            picture = self._read(selection, now)
        except DatabaseUnavailable:
            return replace(self._known.get(selection, Picture(now)), now=now, reachable=False)
        self._known.pop(selection, None)
        self._known[selection] = picture
        if len(self._known) > REMEMBERED:
            del self._known[next(iter(self._known))]
        return picture

    def _read(self, selection: QualitySelection, now: datetime) -> Picture:
        reader = self._reader
        newest = reader.newest_run()
        run = newest if selection.run is None else reader.run(selection.run)
        older, newer = reader.neighbours(run) if run else (None, None)
        before = reader.day_before(run) if run and run.finished_at else None
        length = SPAN_LENGTHS[selection.span]
        rate_steps, strip_steps = RATE_STEPS[selection.span], STRIP_STEPS[selection.span]
        if selection.symbol:
            strip_steps = rate_steps
        return Picture(
            now=now,
            newest=newest,
            unfinished=reader.unfinished_run(),
            run=run,
            older=older,
            newer=newer,
            results=reader.results(run.run_id) if run else (),
            before=before,
            changes=reader.changes(run, before) if run and before else (),
            rates=reader.rates(*_whole_steps(now, length, rate_steps), rate_steps),
            series=reader.series(*_whole_steps(now, length, strip_steps), selection.symbol, strip_steps),
            held=reader.held(),
            held_count=reader.held_count(),
            archive=reader.archive(),
            is_known=True,
        )


def _whole_steps(now: datetime, length: timedelta, steps: int) -> tuple[datetime, datetime]:
    """The last `steps` whole steps until now and the one that is on: what is asked for stays the same within a step."""
    step = length / steps
    end = datetime.fromtimestamp((now.timestamp() // step.total_seconds() + 1) * step.total_seconds(), UTC)
    return end - length, end
