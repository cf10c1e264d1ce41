"""Bars of the past in the warehouse: compared with what is held, in one transaction with all that follows from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import psycopg
import pyarrow as pa

from include.errors import MarketDataError
from include.storage import history_sql as sql
from include.storage.stream_copy import copy_in
from include.storage.stream_sql import EVENT_COLUMNS

#: So many bars off by a factor like this are no corrections.
ENOUGH, SPLIT = 5, Decimal("1.45")


@dataclass(frozen=True, slots=True)
class Part:
    """A symbol and a UTC day of a run, and what was asked for it: a row of backfill_results without its counts.

    `reason` says why nothing, or not all, was fetched.
    """

    run_id: str
    symbol: str
    day: date
    interval: str
    source: str | None
    bars_fetched: int
    bars_left: int
    bars_refused: int
    calls: int
    reason: str | None


class OtherShares(MarketDataError):
    """Bars in other shares than those held: a split came between, in part or unknown."""


class HistoryTables:
    """Past bars of one open transaction. Use through `Batch.history`."""

    def __init__(self, cursor: psycopg.Cursor[dict[str, Any]]) -> None:
        self._cursor = cursor

    def compare(self, bars: pa.Table, *, revise: bool = True) -> dict[str, int]:
        """Take in what is new and what differs (as a revision); bars by verdict: new, changed, unchanged, left.

        `bars` has EVENT_COLUMNS; of days that are in the table. `FigureTables.events_recounted` are then the events of
        the windows to count again. Without `revise`, what is held stays as it is.
        Raises OtherShares where what differs does so by the measure of a split.
        """
        copy_in(self._cursor, f"staged_events ({EVENT_COLUMNS})", bars.select(EVENT_COLUMNS.split(", ")))
        self._cursor.execute(sql.JUDGE)
        self._refuse_other_shares()
        for statement in (*(() if revise else (sql.KEEP_HELD,)), sql.INSERT, sql.SPANS, sql.UNPAIRED):
            self._cursor.execute(statement)
        return {row["verdict"]: row["bars"] for row in self._cursor.execute(sql.VERDICTS)}

    def _refuse_other_shares(self) -> None:
        row = self._cursor.execute(sql.OFF).fetchone()
        if row and row["bars"] >= ENOUGH and not 1 / SPLIT < row["times"] < SPLIT:
            raise OtherShares(
                f"{row['bars']} bars are {row['times']:.4g} times those held: they are in other shares, by a split "
                "that is not known or not applied yet; nothing of the day was taken"
            )

    def missing(self, symbol: str, start: datetime, end: datetime) -> list[datetime]:
        """Minutes in session of [start, end), and not after now, without a bar or a trade."""
        bound = {"symbol": symbol, "start": start, "end": end}
        return [row["minute"] for row in self._cursor.execute(sql.MISSING, bound)]

    def record(self, part: Part, verdicts: Mapping[str, int], missing_before: int, missing_after: int) -> None:
        """What was done, as a row of backfill_results."""
        row = asdict(part)
        row["bars_left"] += verdicts.get("left", 0)
        row |= {f"bars_{name}": verdicts.get(name, 0) for name in ("new", "changed", "unchanged")}
        self._cursor.execute(sql.RESULT, row | {"missing_before": missing_before, "missing_after": missing_after})
