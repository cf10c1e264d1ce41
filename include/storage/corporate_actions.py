"""Splits and dividends as the sources told them, and the factors that follow; role pipeline_writer."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
from psycopg.rows import dict_row

from include.market.corporate_action import CorporateAction
from include.storage.database import libpq_url

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
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
_FORGET_FACTORS = "DELETE FROM adjustment_factors WHERE symbol = %s"
_FACTORS = "INSERT INTO adjustment_factors SELECT %(symbol)s, f.* FROM computed_factors(%(symbol)s) f"
_OF = f"SELECT {', '.join(_COLUMNS)} FROM corporate_actions WHERE symbol = %s ORDER BY ex_date, kind"


def keep_actions(database_url: str, symbol: str, actions: Sequence[CorporateAction]) -> int:
    """Store what is new or said otherwise, and the symbol's factors anew, in one transaction; how many rows changed.

    Raises psycopg.Error.
    """
    with psycopg.connect(libpq_url(database_url), connect_timeout=5) as connection, connection.cursor() as cursor:
        changed = 0
        for action in actions:
            row = {name: getattr(action, name) for name in _COLUMNS}
            row["ingested_at"] = _EPOCH + timedelta(microseconds=action.ingested_at)
            changed += cursor.execute(_KEEP, row).rowcount
        cursor.execute(_FORGET_FACTORS, (symbol,))
        cursor.execute(_FACTORS, {"symbol": symbol})
    return changed


def actions_of(database_url: str, symbol: str) -> list[CorporateAction]:
    """All that is known of the symbol, in order of their dates. Raises psycopg.Error."""
    with psycopg.connect(libpq_url(database_url), connect_timeout=5, row_factory=dict_row) as connection:
        return [_action(row) for row in connection.execute(_OF, (symbol,))]


def _action(row: dict[str, Any]) -> CorporateAction:
    return CorporateAction(**row | {"ingested_at": (row["ingested_at"] - _EPOCH) // timedelta(microseconds=1)})
