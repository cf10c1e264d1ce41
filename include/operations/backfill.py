"""Which symbols and days a backfill is of, and what a run says of itself. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from include.errors import SettingsError

#: Airflow maps no more tasks at once than this; `airflow backfill create` makes a run for each day instead.
PARTS_AT_ONCE = 1_000
COUNTS = ("fetched", "new", "changed", "unchanged", "left", "refused", "missing_before", "missing_after", "calls")


@dataclass(frozen=True, slots=True)
class DayOf:
    """One mapped task: a symbol and a UTC day."""

    symbol: str
    day: date


def days(
    first: date | None, last: date | None, interval: tuple[datetime, datetime] | None, now: datetime
) -> list[date]:
    """The UTC days of a run: those of the form, first and last included; else those of its data interval.

    Raises SettingsError for a form that makes no sense.
    """
    if first is None and last is None:
        start, end = interval or _yesterday(now)
        first, last = start.date(), (end - timedelta(microseconds=1)).date()
    first = first or last
    last = last or now.date()
    assert first is not None  # one of the two is given
    if first > now.date():
        raise SettingsError(f"{first} lies ahead: there is nothing to fetch yet")
    if last < first:
        raise SettingsError(f"the last day, {last}, is before the first, {first}")
    return [first + timedelta(days=number) for number in range((min(last, now.date()) - first).days + 1)]


def parts(symbols: Sequence[str], wanted: Iterable[date], sessions: Iterable[date] | None) -> list[DayOf]:
    """Each symbol with each of the days on which its market is open; `sessions` None: nobody knows, all days.

    Raises SettingsError where they are too many for one run.
    """
    open_days = None if sessions is None else set(sessions)
    found = [DayOf(symbol, day) for day in wanted if open_days is None or day in open_days for symbol in symbols]
    if len(found) > PARTS_AT_ONCE:
        raise SettingsError(
            f"{len(found)} symbols and days are more than the {PARTS_AT_ONCE} of one run: choose fewer, or let Airflow "
            "make a run for each day: ./pipeline airflow backfill create --dag-id backfill_bars --from-date ... "
            "--to-date ..."
        )
    return found


def chosen(named: Sequence[str], configured: Sequence[str]) -> list[str]:
    """The symbols of one asset class that a form names; none: all that are collected."""
    return [symbol for symbol in configured if not named or symbol in named]


def refuse_unknown(named: Iterable[str], known: Sequence[str]) -> None:
    """Raises SettingsError for a symbol that is not collected here."""
    for symbol in named:
        if symbol not in known:
            raise SettingsError(f"{symbol} is not collected here; these are: {', '.join(sorted(known))}")


def by_symbol(rows: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, int]]:
    """Counts of a run's parts, added up for each symbol."""
    found: dict[str, dict[str, int]] = {}
    for row in rows:
        counts = found.setdefault(row["symbol"], dict.fromkeys(COUNTS, 0))
        for name in COUNTS:
            counts[name] += row[name]
    return dict(sorted(found.items()))


def table(counts: Mapping[str, Mapping[str, int]]) -> str:
    """The counts for a person, a line a symbol."""
    head = f"{'symbol':<10}" + "".join(f"{name.replace('_', ' '):>16}" for name in COUNTS)
    lines = [f"{symbol:<10}" + "".join(f"{row[name]:>16,}" for name in COUNTS) for symbol, row in counts.items()]
    return "\n".join([head, *lines])


def _yesterday(now: datetime) -> tuple[datetime, datetime]:
    midnight = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return midnight - timedelta(days=1), midnight
