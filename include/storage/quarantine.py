"""Events that are kept out of candles: who held them, and what was decided. Nothing leaves market_events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Literal

import psycopg
from psycopg.rows import dict_row

from include.storage.database import libpq_url
from include.storage.stream_figures_sql import UNAPPLIED

Decision = Literal["released", "dropped"]

# What was decided once is not held again: a released row stays released, however often its check fails.
_HOLD = """
INSERT INTO quarantined_events (event_id, revision, event_time, symbol, asset_class, check_name, reason, run_id)
SELECT event_id, revision, event_time, symbol, asset_class, %(check_name)s, %(reason)s, %(run_id)s FROM market_events
WHERE event_id = %(event_id)s AND revision = %(revision)s AND event_time = %(event_time)s
ON CONFLICT DO NOTHING
"""
_CHOSEN = """
state = 'held' AND (%(check_name)s::text IS NULL OR check_name = %(check_name)s)
  AND (%(symbols)s::text[] IS NULL OR symbol = ANY (%(symbols)s))
  AND (%(day)s::date IS NULL OR (event_time AT TIME ZONE 'UTC')::date = %(day)s)
  AND (%(event_ids)s::text[] IS NULL OR event_id = ANY (%(event_ids)s))
  AND (%(held_until)s::timestamptz IS NULL OR quarantined_at <= %(held_until)s)
"""
_HELD = f"""
SELECT event_id, revision, event_time, symbol, check_name, reason, quarantined_at FROM quarantined_events
WHERE {_CHOSEN} ORDER BY event_time, event_id
"""
# Candles are without a held row already; only a release changes them.
_DECIDE = f"""
UPDATE quarantined_events SET state = %(state)s, decided_at = now(), decided_by = %(by)s, decision_run = %(run)s,
    note = %(note)s, applied_at = CASE WHEN %(state)s = 'released' THEN NULL ELSE applied_at END
WHERE {_CHOSEN}
"""
_DECIDED = "SELECT count(*) FROM quarantined_events WHERE decision_run = %s"


@dataclass(frozen=True, slots=True)
class Choice:
    """Which of the held rows: each part that is None leaves all."""

    check_name: str | None = None
    symbols: tuple[str, ...] | None = None
    day: date | None = None
    event_ids: tuple[str, ...] | None = None
    #: So that what is held while a person thinks is not decided unseen.
    held_until: datetime | None = None

    def bound(self) -> dict[str, Any]:
        return {
            "check_name": self.check_name,
            "symbols": None if self.symbols is None else list(self.symbols),
            "day": self.day,
            "event_ids": None if self.event_ids is None else list(self.event_ids),
            "held_until": self.held_until,
        }


def hold(
    connection: psycopg.Connection[Any], rows: Sequence[Mapping[str, Any]], check_name: str, reason: str, run_id: str
) -> int:
    """Keep these events out of candles from now on; how many are new. Role pipeline_checker.

    `rows` have event_id, revision, event_time; what is not in market_events is left out. Raises psycopg.Error.
    """
    with connection.transaction(), connection.cursor() as cursor:
        cursor.executemany(
            _HOLD, [{**row, "check_name": check_name, "reason": reason, "run_id": run_id} for row in rows]
        )
        return max(cursor.rowcount, 0)


def held(database_url: str, choice: Choice) -> list[dict[str, Any]]:
    """Held rows, oldest first. Raises psycopg.Error."""
    with psycopg.connect(libpq_url(database_url), connect_timeout=5, row_factory=dict_row) as connection:
        return connection.execute(_HELD, choice.bound()).fetchall()


def waits(database_url: str) -> int:
    """Rows that were held or released and that candles could show and do not yet. Raises psycopg.Error."""
    with psycopg.connect(libpq_url(database_url), connect_timeout=5) as connection:
        row = connection.execute(f"SELECT count(*) FROM quarantined_events q WHERE {UNAPPLIED}").fetchone()
    assert row is not None  # an aggregate
    return int(row[0])


def decide(database_url: str, choice: Choice, state: Decision, *, by: str, run: str, note: str = "") -> int:
    """Release or drop what is held and chosen; how many rows this run has decided by now, in an earlier try of it too.

    Role pipeline_writer. Raises psycopg.Error. A released row counts again as soon as its windows are computed again;
    a dropped one stays where it is and never counts.
    """
    with psycopg.connect(libpq_url(database_url), connect_timeout=5) as connection:
        connection.execute(_DECIDE, {**choice.bound(), "state": state, "by": by, "run": run, "note": note})
        row = connection.execute(_DECIDED, (run,)).fetchone()
    assert row is not None  # an aggregate
    return int(row[0])
