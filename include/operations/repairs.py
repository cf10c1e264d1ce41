"""Repairs of what the stream has left for later: indicators behind late events."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import psycopg

from include.errors import MarketDataError
from include.storage.database import libpq_url

#: Younger ones may be added to by the very next batch.
SETTLED_SECONDS = 5.0

_WAITING = """
SELECT count(*), extract(epoch FROM now() - min(recorded_at))::float8 FROM indicator_repairs
WHERE recorded_at < now() - make_interval(secs => %s)
"""


@dataclass(frozen=True, slots=True)
class Waiting:
    """Repairs that are due: series of a symbol and interval, and how long the oldest has waited."""

    series: int
    oldest_seconds: float


def waiting_repairs(database_url: str, settled_seconds: float = SETTLED_SECONDS) -> Waiting:
    """One cheap look. Raises psycopg.Error."""
    with psycopg.connect(libpq_url(database_url), connect_timeout=5) as connection:
        row = connection.execute(_WAITING, (settled_seconds,)).fetchone()
    assert row is not None  # an aggregate
    return Waiting(row[0], round(row[1] or 0.0, 1))


def repair_indicators(database_url: str, recompute: Callable[[], str]) -> dict[str, Any]:
    """Run `recompute` if something is due; its counts. It prints one line of JSON.

    Safe to run twice: what is repaired is taken off the list in the transaction that writes it.
    """
    waiting = waiting_repairs(database_url)
    if waiting.series == 0:
        return {"waiting": 0}
    said = recompute()
    try:
        counts = dict(json.loads(said))
    except ValueError as error:
        raise MarketDataError(f"the repair did not say what it did: {said[:200]!r}") from error
    return {"waiting": waiting.series, "oldest_seconds": waiting.oldest_seconds, **counts}
