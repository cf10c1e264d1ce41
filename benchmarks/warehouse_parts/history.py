"""Histories of different lengths that end at the same moment, made by PostgreSQL itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
from psycopg.sql import SQL, Identifier

from include.market.candle import INTERVAL_SECONDS

SYMBOLS = tuple(f"SYM{number:02d}" for number in range(20))
#: A minute's bar and a quote between, as the pollers bring them.
EVENTS_A_MINUTE = 2
#: Of a normal market's candles about so many are three sigmas out.
ANOMALIES_OF = 250
END = datetime(2026, 11, 20, 17, tzinfo=UTC)
# By plain arithmetic, so that it is quick and always the same.
_EVENTS = """
INSERT INTO {table} (event_id, symbol, asset_class, source, kind, event_time, interval_seconds, open, high, low, close,
    volume, currency, ingested_at, kafka_partition, kafka_offset)
SELECT 'yahoo:' || symbol || ':' || kind || ':' || extract(epoch FROM at)::bigint, symbol, 'stock', 'yahoo', kind,
    at, length, price, price + 1, price - 1, price, CASE WHEN kind = 'bar' THEN 100 + seed %% 900 END, 'USD',
    at + make_interval(secs => length), place %% 2, seed
FROM (
    SELECT symbol, place, kind, length, minute + make_interval(secs => later) AS at,
        (extract(epoch FROM minute) / 60)::bigint * 40 + place AS seed,
        (9000 + ((extract(epoch FROM minute) / 60)::bigint * 7919 + place * 31) %% 2000)::numeric / 100 AS price
    FROM generate_series(%(start)s::timestamptz, %(end)s::timestamptz - interval '1 second', '1 minute') AS minute
    CROSS JOIN unnest(%(symbols)s::text[]) WITH ORDINALITY AS s (symbol, place)
    CROSS JOIN (VALUES ('bar', 60, 0), ('quote', 0, 30)) AS k (kind, length, later)
) made
"""
_WINDOWS = """
SELECT symbol, %(interval)s AS interval, start, (extract(epoch FROM start) / 60)::bigint * 31 + place * 17 AS seed
FROM generate_series(%(start)s::timestamptz, %(end)s::timestamptz - interval '1 second',
    make_interval(secs => %(seconds)s)) AS start
CROSS JOIN unnest(%(symbols)s::text[]) WITH ORDINALITY AS s (symbol, place)
"""
_CANDLES = f"""
INSERT INTO candles (symbol, interval, window_start, open, high, low, close, volume, vwap, event_count, source,
    asset_class, is_final)
SELECT symbol, interval, start, 100, 110, 90, 100 + (seed %% 500)::numeric / 100, 50 + seed %% 7, 100, 1, 'yahoo',
    'stock', true FROM ({_WINDOWS}) made
"""
_INDICATORS = f"""
INSERT INTO indicators (symbol, interval, window_start, sma_20, ema_12, ema_26, bollinger_upper, bollinger_middle,
    bollinger_lower, volatility_20, log_return)
SELECT symbol, interval, start, 100, 100, 100, 105, 100, 95, 0.01, (seed %% 100 - 50) / 10000.0 FROM ({_WINDOWS}) made
"""
_ANOMALIES = f"""
INSERT INTO price_anomalies (symbol, interval, window_start, metric, value, mean, stddev, z_score, severity)
SELECT symbol, interval, start, 'price', 0.02, 0, 0.005, 4.5, 'high' FROM ({_WINDOWS}) made
WHERE seed %% {ANOMALIES_OF} = 0
"""
_TABLES = ("market_events", "candles", "indicators", "price_anomalies")


def beginning(events: int) -> datetime:
    """When a history of about so many events begins; whole windows of every interval."""
    longest = max(INTERVAL_SECONDS.values()) // 60
    minutes = events // (len(SYMBOLS) * EVENTS_A_MINUTE)
    return END - timedelta(minutes=max(1, minutes // longest) * longest)


def days(start: datetime, end: datetime) -> Iterator[tuple[datetime, datetime]]:
    """The UTC days between, the first and the last maybe in part. Pure."""
    while start < end:
        midnight = start.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
        yield start, min(midnight, end)
        start = midnight


def fill(connection: psycopg.Connection[Any], events: int) -> dict[str, int]:
    """Events, candles, indicators and anomalies until END; how many of each, of days, and bytes in all.

    Vacuumed and analysed, so that nothing of it is left to do. `connection` is the owner's, in autocommit.
    """
    start = beginning(events)
    whole = list(days(start, END))
    for first, past in whole:
        _fill_day(connection, first, past)
    fill_windows(connection, start, END, SYMBOLS)
    stands = {"days": len(whole)}
    for table in _TABLES:
        connection.execute(SQL("VACUUM (ANALYZE) {}").format(Identifier("market", table)))
        counted = connection.execute(SQL("SELECT count(*) FROM {}").format(Identifier("market", table))).fetchone()
        stands[table] = counted[0] if counted else 0
    size = connection.execute("SELECT pg_database_size(current_database())").fetchone()
    return {**stands, "bytes": size[0] if size else 0}


def fill_windows(connection: psycopg.Connection[Any], start: datetime, end: datetime, symbols: Sequence[str]) -> None:
    """Candles, indicators and anomalies of windows that start in [start, end)."""
    bound = {"start": start, "end": end, "symbols": list(symbols)}
    for statement in (_CANDLES, _INDICATORS, _ANOMALIES):
        for interval, seconds in INTERVAL_SECONDS.items():
            connection.execute(statement, {**bound, "interval": interval, "seconds": seconds})


def _fill_day(connection: psycopg.Connection[Any], start: datetime, end: datetime) -> None:
    """Filled before it is attached: its indexes are then built at once, and not row by row."""
    midnight = start.replace(hour=0, minute=0)
    table, parent = Identifier("market", f"market_events_p{start:%Y%m%d}"), Identifier("market", "market_events")
    bounds = (midnight.isoformat(), (midnight + timedelta(days=1)).isoformat())
    making = SQL("CREATE TABLE {} (LIKE {} INCLUDING DEFAULTS INCLUDING CONSTRAINTS)").format(table, parent)
    attaching = SQL("ALTER TABLE {} ATTACH PARTITION {} FOR VALUES FROM ({}) TO ({})").format(parent, table, *bounds)
    with connection.transaction():
        connection.execute(making)
        connection.execute(SQL(_EVENTS).format(table=table), {"start": start, "end": end, "symbols": list(SYMBOLS)})
        connection.execute(attaching)
