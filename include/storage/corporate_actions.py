"""Splits and dividends as the sources told them, and the factors that follow; role pipeline_writer."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any

import psycopg
from psycopg.rows import dict_row

from include.market.corporate_action import CorporateAction
from include.market.event import Source
from include.market.moments import micros, moment
from include.storage.database import libpq_url

_COLUMNS = ("symbol", "kind", "ex_date", "source", "numerator", "denominator", "amount", "currency", "ingested_at")
_SAID = ("numerator", "denominator", "amount", "currency")
# Asked again, a source says the same in other figures only where it has corrected itself, or split since.
_KEEP = f"""
INSERT INTO corporate_actions AS held ({", ".join(_COLUMNS)}) VALUES ({", ".join(f"%({name})s" for name in _COLUMNS)})
ON CONFLICT (symbol, kind, ex_date, source) DO UPDATE SET
    {", ".join(f"{name} = excluded.{name}" for name in (*_SAID, "ingested_at"))}
WHERE ({", ".join(f"held.{name}" for name in _SAID)})
   IS DISTINCT FROM ({", ".join(f"excluded.{name}" for name in _SAID)})
"""
# A source that moves a date has withdrawn the old one: both would count twice.
_WITHDRAW = """
DELETE FROM corporate_actions WHERE symbol = %(symbol)s AND source = %(source)s AND ex_date >= %(since)s
  AND NOT EXISTS (SELECT FROM unnest(%(kinds)s::text[], %(days)s::date[]) AS told (kind, ex_date)
                  WHERE (told.kind, told.ex_date) = (corporate_actions.kind, corporate_actions.ex_date))
"""
_LOOKED = """
INSERT INTO corporate_action_looks VALUES (%s, now())
ON CONFLICT (symbol) DO UPDATE SET looked_at = excluded.looked_at
"""
_LOOKED_AT = "SELECT looked_at FROM corporate_action_looks WHERE symbol = %s"
_FORGET_FACTORS = "DELETE FROM adjustment_factors WHERE symbol = %s"
_FACTORS = "INSERT INTO adjustment_factors SELECT %(symbol)s, f.* FROM computed_factors(%(symbol)s) f"
_OF = f"SELECT {', '.join(_COLUMNS)} FROM corporate_actions WHERE symbol = %s ORDER BY ex_date, kind"


def keep_actions(
    database_url: str, symbol: str, actions: Sequence[CorporateAction], since: date, source: Source = "yahoo"
) -> int:
    """Store all that the source tells of a symbol since a day, and the factors anew, in one transaction.

    What it told before and tells no more is withdrawn. How many rows changed. Raises psycopg.Error.
    """
    told = {"kinds": [action.kind for action in actions], "days": [action.ex_date for action in actions]}
    with psycopg.connect(libpq_url(database_url), connect_timeout=5) as connection, connection.cursor() as cursor:
        bound = {"symbol": symbol, "source": source, "since": since, **told}
        changed = cursor.execute(_WITHDRAW, bound).rowcount
        for action in actions:
            row = {name: getattr(action, name) for name in _COLUMNS}
            row["ingested_at"] = moment(action.ingested_at)
            changed += cursor.execute(_KEEP, row).rowcount
        cursor.execute(_FORGET_FACTORS, (symbol,))
        cursor.execute(_FACTORS, {"symbol": symbol})
        cursor.execute(_LOOKED, (symbol,))
    return changed


def looked_at(database_url: str, symbol: str) -> datetime | None:
    """When its actions were asked for last. Raises psycopg.Error."""
    with psycopg.connect(libpq_url(database_url), connect_timeout=5) as connection:
        row = connection.execute(_LOOKED_AT, (symbol,)).fetchone()
    return row[0] if row else None


def actions_of(database_url: str, symbol: str) -> list[CorporateAction]:
    """All that is known of the symbol, in order of their dates. Raises psycopg.Error."""
    with psycopg.connect(libpq_url(database_url), connect_timeout=5, row_factory=dict_row) as connection:
        return [_action(row) for row in connection.execute(_OF, (symbol,))]


def _action(row: dict[str, Any]) -> CorporateAction:
    return CorporateAction(**row | {"ingested_at": micros(row["ingested_at"])})
