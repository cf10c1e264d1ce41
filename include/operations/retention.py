"""Days on their way from PostgreSQL to the archive: what is due is planned first, then done. See docs/WAREHOUSE.md."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import psycopg
import yaml

from include.errors import SettingsError
from include.settings import PROJECT_ROOT, Settings
from include.storage.archive import Archive
from include.storage.archive_catalogue import ORDER, ArchiveError, DayIsBusy, Part, Partition
from include.storage.archive_sql import ENSURE
from include.storage.database import libpq_url

RELATIONS = tuple(ORDER)
#: So many days after today have their partitions: a week without us, and every row still has a place.
DAYS_AHEAD = 7
TOPICS_FILE = PROJECT_ROOT / "config" / "kafka.yaml"

Day = tuple[str, date]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Rules:
    """A day older than the first is copied to a file, one older than the second is only there."""

    archive_after_days: int
    keep_days: int


@dataclass(frozen=True, slots=True)
class Plan:
    """(relation, day) of the partitions to make, the days to archive (anew), the days to let go of."""

    make: tuple[Day, ...] = ()
    archive: tuple[Day, ...] = ()
    drop: tuple[Day, ...] = ()


@dataclass
class _Moved:
    archived: list[str] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)
    rows_archived: int = 0
    bytes_archived: int = 0
    rows_dropped: int = 0


def rules(settings: Settings, kafka_hours: int) -> Rules:
    """`kafka_hours` is the longest that Kafka keeps. Raises SettingsError, naming the setting to change."""
    keep, archive_after = settings.keep_days, settings.archive_after_days
    if keep <= archive_after:
        raise SettingsError(f"KEEP_DAYS={keep} cannot be used: it must be more than ARCHIVE_AFTER_DAYS={archive_after}")
    if keep * 24 <= kafka_hours:
        raise SettingsError(
            f"KEEP_DAYS={keep} cannot be used: Kafka keeps up to {kafka_hours} hours (config/kafka.yaml) and a rebuild "
            f"of the stream reads them again, so it must be at least {kafka_hours // 24 + 1}"
        )
    return Rules(archive_after, keep)


def longest_kafka_hours(topics_file: Path = TOPICS_FILE) -> int:
    """Of all declared topics."""
    declared = yaml.safe_load(topics_file.read_text())["topics"]
    return max(int(topic["retention_hours"]) for topic in declared.values())


def plan(partitions: Iterable[Partition], catalogue: Iterable[Part], today: date, wanted: Rules) -> Plan:
    """What is due. Pure. Rows of the partitions of days to archive must have been counted.

    A day that was brought back, or got rows when it was warm, counts as new from then on: whoever needed it may
    need it for as long as a new day.
    """
    held = {(each.relation, each.day): each.rows for each in partitions}
    warm = {(part.relation, part.day): part for part in catalogue if not part.is_cold}
    archive_before = today - timedelta(days=wanted.archive_after_days)
    drop_before = today - timedelta(days=wanted.keep_days)
    ahead = [today + timedelta(days=number) for number in range(DAYS_AHEAD + 1)]

    def is_in_use(part: Part | None) -> bool:
        return part is not None and part.verified_at > part.archived_at and part.verified_at.date() >= archive_before

    due = sorted(key for key in held if key[1] < archive_before)
    return Plan(
        make=tuple((relation, day) for relation in RELATIONS for day in ahead if (relation, day) not in held),
        archive=tuple(key for key in due if held[key] != (warm[key].rows if key in warm else 0)),
        drop=tuple(key for key in due if key[1] < drop_before and not is_in_use(warm.get(key))),
    )


def states(partitions: Iterable[Partition], catalogue: Iterable[Part], today: date) -> dict[Day, str]:
    """`hot`, `warm` or `cold` of every day until today. Pure. Cold days that got rows again are hot."""
    found = {(part.relation, part.day): "cold" for part in catalogue}
    found |= {(each.relation, each.day): "hot" for each in partitions if each.day <= today}
    found |= {(part.relation, part.day): "warm" for part in catalogue if not part.is_cold}
    return dict(sorted(found.items()))


def make_partitions_ahead(database_url: str, today: date) -> None:
    """Today's and the next days' partitions of every table kept by day; the owner's connection."""
    days = [today + timedelta(days=number) for number in range(DAYS_AHEAD + 1)]
    with psycopg.connect(libpq_url(database_url), connect_timeout=5) as connection:
        for relation in RELATIONS:
            connection.execute(ENSURE, (relation, days))


def apply_retention(
    database_url: str, folder: Path, wanted: Rules, today: date, *, dry_run: bool = False
) -> dict[str, Any]:
    """Do what is due; days by state, and what was moved, by relation. The owner's connection.

    A day that cannot be moved safely stays, the others go on. At the end raises ArchiveError with all their names, or
    DayIsBusy if only locks were in the way.
    """
    with Archive(database_url, folder) as archive:
        counted_before = today - timedelta(days=wanted.archive_after_days)
        due = plan(archive.partitions(counted_before), archive.catalogue(), today, wanted)
        if dry_run:
            by_state = states(archive.partitions(), archive.catalogue(), today)
            return {"dry_run": True, "relations": {name: _intended(name, due, by_state) for name in RELATIONS}}
        for relation in RELATIONS:
            archive.make_partitions(relation, [day for name, day in due.make if name == relation])
        moved = {relation: _Moved() for relation in RELATIONS}
        failures: list[ArchiveError | DayIsBusy] = []
        for relation, day in sorted({*due.archive, *due.drop}):
            try:
                _move(archive, relation, day, due, moved[relation])
            except ArchiveError as failure:
                failures.append(failure)
            except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected) as failure:
                failures.append(DayIsBusy(f"{relation} of {day}: {str(failure).splitlines()[0]}"))
        by_state = states(archive.partitions(), archive.catalogue(), today)
    if failures:
        kind = DayIsBusy if all(isinstance(failure, DayIsBusy) for failure in failures) else ArchiveError
        raise kind("; ".join(map(str, failures)))
    result = {name: {**_by_state(name, by_state), **vars(moved[name])} for name in RELATIONS}
    return {"dry_run": False, "relations": result}


def restore(database_url: str, folder: Path, day: date) -> dict[str, int]:
    """Bring a day back in every table in which it is cold; rows by relation. Raises ArchiveError."""
    with Archive(database_url, folder) as archive:
        cold = {part.relation for part in archive.catalogue() if part.day == day and part.is_cold}
        if not cold:
            raise ArchiveError(f"{day} is not in the archive alone: ./pipeline archive list shows what is")
        return {relation: archive.restore_day(relation, day) for relation in sorted(cold)}


def _move(archive: Archive, relation: str, day: date, due: Plan, moved: _Moved) -> None:
    # Also before it is dropped: a column that came since is in no file yet, whatever the number of rows.
    if part := archive.archive_day(relation, day):
        moved.archived.append(f"{day}")
        moved.rows_archived += part.rows
        moved.bytes_archived += part.bytes
        _log.info("archived %s: %s rows, %s bytes", part, part.rows, part.bytes)
    if (relation, day) in due.drop:
        rows = archive.drop_day(relation, day)
        moved.dropped.append(f"{day}")
        moved.rows_dropped += rows
        _log.info("dropped %s of %s: %s rows, verified in the archive", relation, day, rows)


def _intended(relation: str, due: Plan, by_state: dict[Day, str]) -> dict[str, Any]:
    named: dict[str, Sequence[Day]] = {
        "would_make": due.make, "would_archive": due.archive, "would_drop": due.drop
    }  # fmt: skip
    return {
        **_by_state(relation, by_state),
        **{what: [f"{day}" for name, day in days if name == relation] for what, days in named.items()},
    }


def _by_state(relation: str, by_state: dict[Day, str]) -> dict[str, int]:
    found = [state for (name, _), state in by_state.items() if name == relation]
    return {state: found.count(state) for state in ("hot", "warm", "cold")}
