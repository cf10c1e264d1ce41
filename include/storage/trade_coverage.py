"""Which minutes are the trades': written by the trade stream, read by whoever publishes bars."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import psycopg

from include.errors import LeaseLost
from include.market.coverage import Coverage, first_free
from include.market.moments import micros, moment
from include.storage.database import libpq_url
from include.storage.lease import read_stream_state

#: The trade stream's name in the lease table.
APPLICATION = "crypto_trades"

_COLUMNS = "symbol, covered_from, covered_through, last_trade_id"
_FENCED = "SELECT 1 FROM stream_fence WHERE application = %s AND epoch = %s FOR SHARE"
_SAVE = f"""
INSERT INTO trade_coverage AS held (source, {_COLUMNS}) VALUES (%s, %s, %s, %s, %s)
ON CONFLICT (source, symbol, covered_from) DO UPDATE SET updated_at = now(),
    -- Its end may lie before what was claimed: that was then claimed on a wrong trade id.
    covered_through = CASE WHEN excluded.last_trade_id IS NULL THEN excluded.covered_through
        ELSE greatest(held.covered_through, excluded.covered_through) END,
    last_trade_id = excluded.last_trade_id
"""


class PostgresCoverage:
    """The stream's side. Nothing is written any more once another one has the lease."""

    def __init__(self, database_url: str, source: str, epoch: int) -> None:
        self._connection: psycopg.Connection[Any] = psycopg.connect(libpq_url(database_url), autocommit=True)
        self._source = source
        self._epoch = epoch

    def newest(self) -> dict[str, Coverage]:
        """The last coverage of each symbol."""
        rows = self._connection.execute(
            f"SELECT DISTINCT ON (symbol) {_COLUMNS} FROM trade_coverage WHERE source = %s "
            "ORDER BY symbol, covered_from DESC",
            (self._source,),
        ).fetchall()
        return {row[0]: _coverage(row) for row in rows}

    def save(self, coverages: Sequence[Coverage]) -> None:
        """All of them or none. Raises LeaseLost, psycopg.Error."""
        rows = [
            (self._source, held.symbol, moment(held.covered_from), moment(held.covered_through), held.last_trade_id)
            for held in coverages
        ]
        with self._connection.transaction(), self._connection.cursor() as cursor:
            if cursor.execute(_FENCED, (APPLICATION, self._epoch)).fetchone() is None:
                raise LeaseLost(f"epoch {self._epoch} of the trade stream is over")
            cursor.executemany(_SAVE, rows)

    def close(self) -> None:
        self._connection.close()


class PostgresTradedMinutes:
    """The reader's side, as it stood when it was made: for one poll."""

    def __init__(self, database_url: str) -> None:
        state = read_stream_state(database_url, APPLICATION)
        self._is_streaming = state is not None and state.is_alive
        self._coverages: defaultdict[str, list[Coverage]] = defaultdict(list)
        with psycopg.connect(libpq_url(database_url), connect_timeout=5) as connection:
            for row in connection.execute(f"SELECT {_COLUMNS} FROM trade_coverage ORDER BY covered_from").fetchall():
                self._coverages[row[0]].append(_coverage(row))

    @property
    def has_open(self) -> bool:
        """Some coverage goes on, or was left unfinished."""
        return any(coverage.is_open for held in self._coverages.values() for coverage in held)

    @property
    def reserved_through(self) -> int:
        """When the last unfinished coverage can be finished, UTC epoch microseconds; 0 where there is none."""
        opened = [coverage for held in self._coverages.values() for coverage in held if coverage.is_open]
        return max((coverage.reserved_through for coverage in opened), default=0)

    def first_free(self, symbol: str, start_us: int) -> int | None:
        """The first minute from `start_us` on that needs a bar; None: from there on all are the trades'."""
        return first_free(self._coverages.get(symbol, ()), start_us, self._is_streaming)


def _coverage(row: tuple[Any, ...]) -> Coverage:
    symbol, covered_from, covered_through, last_trade_id = row
    return Coverage(symbol, micros(covered_from), micros(covered_through), last_trade_id)
