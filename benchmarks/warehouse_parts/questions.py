"""What the page and the API ask, by the product's own code; and how PostgreSQL answers it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import psycopg
from psycopg.sql import SQL, Composable

from benchmarks.warehouse_parts.history import END, SYMBOLS
from include.storage.anomaly_reads import AnomalyReader
from include.storage.event_reads import EventReader
from include.storage.market_reads import MarketReader
from include.storage.read_connections import ReadConnections

CANDLES, POINTS = 500, 48
WATERMARK = timedelta(minutes=10)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
#: Parts of the history, from its beginning, that lie behind a past moment; of the shortest one too.
PASTS = (0.25, 0.5, 0.75)
#: Of the day that goes to the archive for the last question.
COLD_DAY = (END - DAY).replace(hour=0)


@dataclass(frozen=True, slots=True)
class History:
    """One database with its readers."""

    events: int
    start: datetime
    market: MarketReader
    raw: EventReader
    anomalies: AnomalyReader

    @classmethod
    def opened(cls, events: int, start: datetime, reader_url: str, archive: Path) -> History:
        market = MarketReader(reader_url, WATERMARK)
        return cls(events, start, market, EventReader(reader_url, archive), AnomalyReader(reader_url))

    def past(self, number: int) -> datetime:
        """One of a few whole minutes of the past."""
        behind = (END - self.start) * PASTS[number % len(PASTS)]
        return self.start + timedelta(minutes=behind // timedelta(minutes=1))

    def close(self) -> None:
        for reader in (self.market, self.raw, self.anomalies):
            reader.close()


Ask = Callable[[History, int], int]


def _symbol(number: int) -> str:
    return SYMBOLS[number % len(SYMBOLS)]


#: Each takes the number of the call, which chooses symbol and moment, and gives the number of rows.
QUESTIONS: dict[str, Ask] = {
    "last 500 candles": lambda h, n: len(h.market.candles(_symbol(n), "1m", CANDLES)),
    "500 candles before a past moment": lambda h, n: len(
        h.market.candles(_symbol(n), "1m", CANDLES, before=h.past(n))
    ),
    "latest closes of all": lambda h, n: len(h.market.latest_closes(SYMBOLS)),
    "sparklines of all": lambda h, n: sum(map(len, h.market.sparklines(SYMBOLS, POINTS).values())),
    "anomalies of a day": lambda h, n: len(h.anomalies.anomalies_between(END - DAY, END)),
    "raw events of an hour": lambda h, n: len(h.raw.events(_symbol(n), h.past(n), h.past(n) + HOUR, 1_000)),
}  # fmt: skip
#: Asked when COLD_DAY is cold.
COLD_QUESTIONS: dict[str, Ask] = {
    "the same from the archive": lambda h, n: len(
        h.raw.events(_symbol(n), COLD_DAY + n % 23 * HOUR, COLD_DAY + (n % 23 + 1) * HOUR, 1_000)
    ),
}


def plans(history: History, ask: Ask) -> list[str]:
    """`EXPLAIN (ANALYZE, BUFFERS)` of what the question asks, by the statements that the product's code sends."""
    asked: list[tuple[Any, Any]] = []
    numbers = count()
    for reader in (history.market, history.raw, history.anomalies):
        with _overheard(reader, asked):
            ask(history, next(numbers))
    with history.market.connection() as connection:
        return [
            "\n".join(row["QUERY PLAN"] for row in connection.execute(_explain(statement), bound))
            for statement, bound in asked
        ]


def _explain(statement: Any) -> Composable:
    return SQL("EXPLAIN (ANALYZE, BUFFERS) ") + (statement if isinstance(statement, Composable) else SQL(statement))


@contextmanager
def _overheard(reader: ReadConnections, asked: list[tuple[Any, Any]]) -> Iterator[None]:
    """Meanwhile the statements with values that this reader's next connection sends are written down."""

    class Overheard(psycopg.Cursor[Any]):
        def execute(self, query: Any, params: Any = None, **more: Any) -> Any:
            if params is not None:
                asked.append((query, params))
            return super().execute(query, params, **more)

    with reader.connection() as connection:
        before = connection.cursor_factory
        connection.cursor_factory = Overheard
    yield
    with reader.connection() as connection:
        connection.cursor_factory = before
