"""What people see of the market: candles and latest prices, read only. One definition for page and API."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Protocol

import redis
from psycopg import Cursor
from psycopg.rows import class_row
from psycopg.sql import SQL, Identifier

from include.market.candle import Candle
from include.market.timeframe import BASE, TIMEFRAME_SECONDS, Timeframe, rolled_up
from include.storage.archive_catalogue import EVENTS, refuse_cold
from include.storage.read_connections import DatabaseUnavailable as DatabaseUnavailable
from include.storage.read_connections import ReadConnections, columns_of

#: At most this many stored candles are read for one answer: 1d then reaches back 69 days of a market
#: that never closes, further for one that does.
MAX_STORED_ROWS = 20_000

_COLUMNS = columns_of(Candle)
_CANDLES = SQL(
    "SELECT {} FROM candles WHERE symbol = %(symbol)s AND interval = %(base)s"
    " AND (%(before)s::timestamptz IS NULL OR window_start < %(before)s)"
    " AND (%(start)s::timestamptz IS NULL OR window_start >= %(start)s)"
    " ORDER BY window_start DESC LIMIT %(rows)s"
).format(_COLUMNS)
# Of windows that are stored: what was known at a moment is never of more.
_SINCE = (
    "SELECT min(window_start) AS since FROM (SELECT window_start FROM candles WHERE symbol = %(symbol)s"
    " AND interval = %(base)s AND window_start < %(before)s"
    " AND (%(start)s::timestamptz IS NULL OR window_start >= %(start)s)"
    " ORDER BY window_start DESC LIMIT %(rows)s) AS newest"
)
_AS_OF = SQL(
    "SELECT {}, window_start + %(length)s <= %(as_of)s - %(watermark)s AS is_final, %(as_of)s AS updated_at"
    " FROM candles_as_of(%(as_of)s, %(since)s, %(before)s, ARRAY[%(symbol)s]) WHERE interval = %(base)s"
    " ORDER BY window_start DESC LIMIT %(rows)s"
).format(SQL(", ").join(Identifier(field.name) for field in fields(Candle)[:-2]))
_LATEST = SQL(
    "SELECT c.* FROM unnest(%s::text[]) AS wanted(symbol) CROSS JOIN LATERAL ("
    "SELECT {} FROM candles WHERE symbol = wanted.symbol AND interval = '1m'"
    " ORDER BY window_start DESC LIMIT 1) AS c"
).format(_COLUMNS)
_NEWEST = (
    "SELECT c.symbol, c.window_start, c.close FROM unnest(%(symbols)s::text[]) AS wanted(symbol)"
    " CROSS JOIN LATERAL (SELECT symbol, window_start, close FROM candles"
    " WHERE symbol = wanted.symbol AND interval = %(interval)s"
    " ORDER BY window_start DESC LIMIT %(points)s) AS c ORDER BY c.symbol, c.window_start"
)
# Hops from symbol to symbol along the key: a plain max() would read the whole table.
_LAST = (
    "WITH RECURSIVE known AS ((SELECT symbol FROM candles ORDER BY symbol LIMIT 1) UNION ALL"
    " SELECT (SELECT c.symbol FROM candles c WHERE c.symbol > known.symbol ORDER BY c.symbol LIMIT 1)"
    " FROM known WHERE known.symbol IS NOT NULL)"
    " SELECT max(newest.window_start) AS last FROM known CROSS JOIN LATERAL (SELECT window_start FROM candles"
    " WHERE symbol = known.symbol AND interval = '1m' ORDER BY window_start DESC LIMIT 1) AS newest"
)


class CandleReads(Protocol):
    """The questions of page and API; every method may raise DatabaseUnavailable."""

    def candles(
        self,
        symbol: str,
        interval: Timeframe,
        limit: int = 500,
        before: datetime | None = None,
        start: datetime | None = None,
        as_of: datetime | None = None,
    ) -> list[Candle]: ...
    def latest_closes(self, symbols: Sequence[str]) -> dict[str, Candle]: ...
    def sparklines(self, symbols: Sequence[str], points: int) -> dict[str, list[Decimal]]: ...
    def last_candle_at(self) -> datetime | None: ...


class PriceReads(Protocol):
    """`CacheManager` as seen from here; both may raise redis.RedisError."""

    def get_many(self, symbols: Iterable[str]) -> Mapping[str, Mapping[str, Any]]: ...
    def ping(self) -> bool: ...


@dataclass(frozen=True, slots=True)
class Price:
    """A symbol's newest price, and the moment it was made (`as_of`, UTC)."""

    symbol: str
    price: Decimal
    event_time: datetime
    as_of: datetime
    source: str
    currency: str | None = None
    change_pct: float | None = None


class MarketReader(ReadConnections):
    """Candles from PostgreSQL. Safe to call from several threads.

    `watermark`: how long a window of a past moment was open after its end.
    """

    def __init__(self, database_url: str, watermark: timedelta) -> None:
        super().__init__(database_url)
        self._watermark = watermark

    def candles(
        self,
        symbol: str,
        interval: Timeframe,
        limit: int = 500,
        before: datetime | None = None,
        start: datetime | None = None,
        as_of: datetime | None = None,
    ) -> list[Candle]:
        """The newest `limit` candles with start <= window_start < before, oldest first.

        `as_of`: counted from the events that had come by then. Raises DayIsCold where those are in the archive.
        """
        base = BASE[interval]
        parts = TIMEFRAME_SECONDS[interval] // TIMEFRAME_SECONDS[base]
        # One window more than asked: the oldest may be cut by the row limit and is then left out.
        rows = limit if parts == 1 else min((limit + 1) * parts, MAX_STORED_ROWS)
        bound = {
            "symbol": symbol,
            "base": base,
            "before": _next_window(before, interval),
            "start": _next_window(start, interval),
            "rows": rows,
        }
        with self.connection() as connection, connection.cursor(row_factory=class_row(Candle)) as cursor:
            if as_of is None:
                found = cursor.execute(_CANDLES, bound).fetchall()
            else:
                open_for = {"length": timedelta(seconds=TIMEFRAME_SECONDS[base]), "watermark": self._watermark}
                found = _known(cursor, bound | open_for, as_of)
        found.reverse()
        if parts == 1:
            return found
        windows = rolled_up(found, interval)
        return windows[1:][-limit:] if len(found) == rows else windows[-limit:]

    def latest_closes(self, symbols: Sequence[str]) -> dict[str, Candle]:
        """The newest 1-minute candle of each symbol that has one."""
        with self.connection() as connection, connection.cursor(row_factory=class_row(Candle)) as cursor:
            return {candle.symbol: candle for candle in cursor.execute(_LATEST, (list(symbols),))}

    def sparklines(self, symbols: Sequence[str], points: int) -> dict[str, list[Decimal]]:
        """The last `points` 5-minute closes of each symbol that has any, oldest first."""
        lines: dict[str, list[Decimal]] = {}
        bound = {"symbols": list(symbols), "interval": "5m", "points": points}
        with self.connection() as connection:
            for row in connection.execute(_NEWEST, bound):
                lines.setdefault(row["symbol"], []).append(row["close"])
        return lines

    def last_candle_at(self) -> datetime | None:
        """Start of the newest 1-minute candle of any symbol."""
        with self.connection() as connection:
            row = connection.execute(_LAST).fetchone()
        return row["last"] if row else None


def _known(cursor: Cursor[Candle], bound: Mapping[str, Any], as_of: datetime) -> list[Candle]:
    """Newest first, from the events that had come by then."""
    before = min(bound["before"] or as_of, as_of)
    wanted = {**bound, "before": before, "as_of": as_of}
    row = cursor.connection.execute(_SINCE, wanted).fetchone()
    since = row["since"] if row else None
    if since is None:
        return []
    refuse_cold(cursor.connection, EVENTS, since.date(), (before - timedelta(microseconds=1)).date())
    return cursor.execute(_AS_OF, {**wanted, "since": since}).fetchall()


def latest_prices(symbols: Sequence[str], cache: PriceReads, reader: CandleReads) -> dict[str, Price]:
    """Prices from Redis; what it lacks, and all while it is down, from the newest candles.

    Raises DatabaseUnavailable only if that leaves nothing to show.
    """
    try:
        prices = {symbol: price_of(symbol, held) for symbol, held in cache.get_many(symbols).items()}
    except redis.RedisError:
        prices = {}
    missing = [symbol for symbol in symbols if symbol not in prices]
    try:
        closes = reader.latest_closes(missing) if missing else {}
    except DatabaseUnavailable:
        if not prices:
            raise
        closes = {}
    return prices | {symbol: _closing(candle) for symbol, candle in closes.items()}


def price_of(symbol: str, held: Mapping[str, Any]) -> Price:
    """From a record of contract §5, as Redis holds and announces it."""
    event_time, as_of = (datetime.fromtimestamp(held[name] / 1_000_000, UTC) for name in ("event_time", "as_of"))
    price = Decimal(held["price"])
    return Price(symbol, price, event_time, as_of, held["source"], held["currency"], held["change_pct"])


def _closing(candle: Candle) -> Price:
    # The running minute has not ended: its close is as old as its last update.
    closed = candle.window_start + timedelta(seconds=TIMEFRAME_SECONDS[candle.interval])
    return Price(candle.symbol, candle.close, candle.window_start, min(closed, candle.updated_at), candle.source)


def _next_window(moment: datetime | None, timeframe: Timeframe) -> datetime | None:
    """The first window start at or after the moment, so that no window is rolled up from a part of it."""
    if moment is None:
        return None
    seconds = TIMEFRAME_SECONDS[timeframe]
    try:
        return datetime.fromtimestamp(-(-moment.timestamp() // seconds) * seconds, UTC)
    except (OverflowError, ValueError):
        # No window starts between this moment and the end of the calendar.
        return moment
