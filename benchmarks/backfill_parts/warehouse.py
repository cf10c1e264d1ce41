"""The whole way into PostgreSQL: `store_bars`, day by day and symbol by symbol, into a database that is thrown away."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import psycopg
import pyarrow as pa
import pyarrow.compute as pc

from benchmarks.backfill_parts.month import DAYS, MINUTES_A_DAY, MONTH, START, SYMBOLS, events
from benchmarks.stream_parts.fits import slope
from benchmarks.stream_parts.stores import Stores, stores
from include.errors import MarketDataError
from include.market.event import MarketEvent, bar
from include.market.instrument import Instrument
from include.storage.history_store import Part
from include.storage.reference import refresh_reference
from include.storage.stream_store import StreamStore
from spark_jobs.backfill import store_bars

DELAY = timedelta(minutes=10)
NO_EPOCH = 0

Say = Callable[[str], None]


def measured(days: int, say: Say) -> dict[str, Any]:
    """So many days of all symbols: bars a second, the time of a month at that rate, and each day's seconds."""
    whole = events((days + 1) * MINUTES_A_DAY * len(SYMBOLS))
    parts = [
        (symbol, day, bars_of(whole, symbol, day))
        for day in (START.date() + timedelta(days=number) for number in range(days))
        for symbol in SYMBOLS
    ]
    with stores(say) as held:
        _collect(held)
        held.checkpoint()
        store = StreamStore(held.writer_url, NO_EPOCH)
        seconds = []
        try:
            for number, (symbol, day, bars) in enumerate(parts):
                say(f"warehouse: part {number + 1} of {len(parts)}: {symbol}, {day}")
                seconds.append(_stored(store, symbol, day, bars))
        finally:
            store.close()
        _check(held, sum(len(bars) for *_, bars in parts))
    return figures([len(bars) for *_, bars in parts], seconds, len(SYMBOLS)) | {"days": days}


def figures(bars: Sequence[int], seconds: Sequence[float], symbols: int) -> dict[str, Any]:
    """From the parts in order, `symbols` of each day. Pure.

    The month twice: at the rate found, and on the line through the days, should each take longer than the one before.
    """
    by_day = [round(sum(seconds[first : first + symbols]), 3) for first in range(0, len(seconds), symbols)]
    rate = sum(bars) / sum(seconds)
    line = slope(list(range(len(by_day))), by_day) if len(by_day) > 1 else None
    return {
        "bars": sum(bars),
        "seconds": round(sum(seconds), 2),
        "bars_per_second": round(rate),
        "month_extrapolated_seconds": round(MONTH / rate, 1),
        "part_seconds": round(statistics.median(seconds), 4),
        "day_seconds": by_day,
        "day_growth_seconds": None if line is None else line.as_dict(),
        "month_extrapolated_growing_seconds": None
        if line is None
        else round(sum(line.intercept + line.slope * day for day in range(DAYS)), 1),
    }


def bars_of(whole: pa.Table, symbol: str, day: date) -> list[MarketEvent]:
    """The bars of a symbol and UTC day as sources give them."""
    start = datetime(day.year, day.month, day.day, tzinfo=UTC)
    at = whole["event_time"]
    wanted = pc.and_(pc.greater_equal(at, start), pc.less(at, start + timedelta(days=1)))
    rows = whole.filter(pc.and_(wanted, pc.equal(whole["symbol"], symbol)))
    rows = rows.set_column(rows.column_names.index("event_time"), "event_time", rows["event_time"].cast(pa.int64()))
    return [
        bar(
            symbol=symbol,
            asset_class="crypto",
            source=row["source"],
            start=row["event_time"],
            interval_seconds=row["interval_seconds"],
            prices=(row["open"], row["high"], row["low"], row["close"]),
            volume=row["volume"],
            currency="USD",
            ingested_at=row["event_time"] + 60_000_000,
        )
        for row in rows.to_pylist()
    ]


def _collect(held: Stores) -> None:
    """The symbols are collected round the clock since the first day, so that missing minutes are looked for."""
    instruments = [Instrument(symbol, "crypto", symbol, {"binance": symbol}) for symbol in SYMBOLS]
    refresh_reference(held.owner_url, "sandbox", instruments, SYMBOLS)
    with psycopg.connect(held.owner_url) as connection:
        connection.execute("UPDATE instruments SET collected_since = %s", (START.date(),))


def _stored(store: StreamStore, symbol: str, day: date, bars: Sequence[MarketEvent]) -> float:
    part = Part("bench", symbol, day, "1m", bars[0].source, len(bars), 0, 0, 1, None)
    began = time.perf_counter()
    done = store_bars(store, part, bars, "crypto", DELAY)
    took = time.perf_counter() - began
    if done.new != len(bars):
        raise MarketDataError(f"{symbol}, {day}: {done.new} of {len(bars)} bars were taken")
    return took


def _check(held: Stores, bars: int) -> None:
    with held.connect() as connection:
        for table, where in (
            ("market_events", ""),
            ("candles", "WHERE interval = '1m'"),
            ("indicators", "WHERE interval = '1m'"),
        ):
            row = connection.execute(f"SELECT count(*) FROM {table} {where}").fetchone()
            if row is None or row[0] != bars:
                raise MarketDataError(f"{table} has {row} rows of {bars} bars")
