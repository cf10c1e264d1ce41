"""A warehouse that has been running for long: events, candles and indicators of the past, made by PostgreSQL itself."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
from psycopg.sql import SQL, Identifier

from benchmarks.stream_parts.stores import Stores

#: Of each symbol.
TRADES_A_MINUTE = 10
_SPAN = timedelta(minutes=5)
#: More than the disorder of the trades to come: no window of the past is touched by them.
_GAP = timedelta(seconds=10)
# By plain arithmetic, so that it is quick and always the same. They did not come by Kafka.
_EVENTS = """
INSERT INTO {table} (event_id, symbol, asset_class, source, kind, event_time, interval_seconds, open, high, low, close,
    volume, currency, ingested_at)
SELECT 'binance:' || symbol || ':trade:' || n, symbol, 'stock', 'binance', 'trade', at, 0, price, price, price, price,
    (1 + n % 997)::numeric / 100, 'USD', at
FROM (
    SELECT n, 'SYM' || lpad((n % {symbols})::text, 5, '0') AS symbol,
        (9000 + n * 7919 % 2000)::numeric / 100 AS price,
        to_timestamp({start} + (n - {first}) * 60.0 / {symbols} / {a_minute}) AS at
    FROM generate_series({first}::bigint, {last}::bigint) AS n
) made
"""
_MINUTES = """
SELECT 'SYM' || lpad(s::text, 5, '0') AS symbol, '{interval}' AS interval, start, s * 17 + n * 31 AS seed
FROM generate_series(%(first)s::timestamptz, %(last)s::timestamptz - interval '1 second', '{length}') WITH ORDINALITY
    AS minutes (start, n) CROSS JOIN generate_series(0, %(symbols)s - 1) AS s
"""
_CANDLES = """
INSERT INTO candles (symbol, interval, window_start, open, high, low, close, volume, vwap, event_count, source,
    asset_class, is_final)
SELECT symbol, interval, start, 100, 110, 90, 100 + (seed %% 500)::numeric / 100, 50 + seed %% 7, 100, 10, 'binance',
    'stock', true FROM ({minutes}) made
"""
_INDICATORS = """
INSERT INTO indicators (symbol, interval, window_start, sma_20, ema_12, ema_26, bollinger_upper, bollinger_middle,
    bollinger_lower, volatility_20, log_return)
SELECT symbol, interval, start, 100, 100, 100, 105, 100, 95, 0.01, (seed %% 100 - 50) / 10000.0 FROM ({minutes}) made
"""


def fill_history(held: Stores, rows: int, symbols: int, before_us: int) -> dict[str, int]:
    """About `rows` events that end before that time, with their candles and indicators; how many of each.

    A whole number of minutes and at least one. Vacuumed and analysed, so that nothing of it is left to do.
    """
    end = datetime.fromtimestamp(before_us / 1e6, UTC) - _GAP
    end -= timedelta(seconds=end.timestamp() % _SPAN.total_seconds())
    start = end - timedelta(minutes=max(1, rows // symbols // TRADES_A_MINUTE))
    bound = {"first": start, "last": end, "symbols": symbols}
    with held.connect() as connection:
        number, day = 0, start
        while day < end:
            until = min(end, (day + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0))
            number += _fill_day(connection, day, until, symbols, number)
            day = until
        for statement in (_CANDLES, _INDICATORS):
            for interval, length in (("1m", "1 minute"), ("5m", "5 minutes")):
                minutes = _MINUTES.format(interval=interval, length=length)
                connection.execute(statement.format(minutes=minutes), bound)
        for table in ("market_events", "candles", "indicators"):
            connection.execute(SQL("VACUUM (ANALYZE) {}").format(Identifier("market", table)))
        counts = connection.execute(
            "SELECT (SELECT count(*) FROM candles), (SELECT count(*) FROM indicators)"
        ).fetchone()
    held.checkpoint()
    return {"events": number, "candles": counts[0], "indicators": counts[1]} if counts else {}


def _fill_day(connection: psycopg.Connection[Any], start: datetime, end: datetime, symbols: int, first: int) -> int:
    """The events of a day or a part of it, in the partition that the stream will look for; how many.

    Filled before it is attached: its indexes are then built at once, and not row by row.
    """
    count = int((end - start).total_seconds() / 60 * symbols * TRADES_A_MINUTE)
    name, midnight = f"market_events_p{start:%Y%m%d}", start.replace(hour=0, minute=0, second=0, microsecond=0)
    table, parent = Identifier("market", name), Identifier("market", "market_events")
    bounds = (midnight.isoformat(), (midnight + timedelta(days=1)).isoformat())
    with connection.transaction():
        connection.execute(
            SQL("CREATE TABLE {} (LIKE {} INCLUDING DEFAULTS INCLUDING CONSTRAINTS)").format(table, parent)
        )
        statement = SQL(_EVENTS).format(
            table=table,
            symbols=symbols,
            start=start.timestamp(),
            first=first,
            last=first + count - 1,
            a_minute=TRADES_A_MINUTE,
        )
        connection.execute(statement)
        connection.execute(
            SQL("ALTER TABLE {} ATTACH PARTITION {} FOR VALUES FROM ({}) TO ({})").format(parent, table, *bounds)
        )
    return count
