"""Made-up minute bars, always the same: raw events as they are in the warehouse. Pure.

Prices wander with fat tails and volumes are lognormal, so that there are anomalies of every severity. The rules of
returns have something to do: the market rests now and then, the source changes for an hour, some volumes are unknown.
"""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from include.market.event import MICROSECONDS
from include.market.tables import EVENT_SCHEMA, PRICE, TIME, VOLUME

SYMBOLS = tuple(f"SYM{number:02d}" for number in range(10))
DAYS, MINUTES_A_DAY = 30, 1_440
MONTH = DAYS * MINUTES_A_DAY * len(SYMBOLS)
START = datetime(2025, 9, 1, tzinfo=UTC)
MINUTE_US = 60 * MICROSECONDS
#: After so many bars the market rests for so many minutes, which is more than a return reaches over.
OPEN_BARS, REST_MINUTES = 1_500, 7
#: Of so many bars the first ones come from the other source.
CHANGE_BARS, OTHER_BARS = 8_000, 60
UNKNOWN_VOLUME_OF = 97
_SOURCE, _OTHER = "binance", "coingecko"
#: A cent and a thousandth, in units of 1e-8.
_CENT, _THOUSANDTH = 10**6, 10**5


def events(rows: int, symbols: tuple[str, ...] = SYMBOLS) -> pa.Table:
    """So many bars (EVENT_SCHEMA), of each symbol alike, in the order in which Kafka brought them."""
    count = rows // len(symbols)
    made = pa.concat_tables([_bars(symbol, number, count, len(symbols)) for number, symbol in enumerate(symbols)])
    return made.sort_by("kafka_offset").combine_chunks()


def _bars(symbol: str, number: int, count: int, symbols: int) -> pa.Table:
    dice, place = np.random.default_rng(number), np.arange(count)
    start_us = int(START.timestamp()) * MICROSECONDS
    times = start_us + (place + place // OPEN_BARS * REST_MINUTES) * MINUTE_US
    cents = 10_000.0 * (1 + number) * np.exp(np.cumsum(dice.standard_t(4, count) * 3e-4))
    close = np.round(cents).astype(np.int64)
    opening = np.concatenate((close[:1], close[:-1]))
    high = np.maximum(opening, close) + dice.integers(0, 9, count)
    low = np.minimum(opening, close) - dice.integers(0, 9, count)
    volume = np.round(np.exp(dice.normal(7, 1, count)) * 1_000).astype(np.int64)
    source = pa.array(np.where((place + 1) % CHANGE_BARS < OTHER_BARS, _OTHER, _SOURCE), pa.string())
    ids = pc.binary_join_element_wise(source, symbol, "bar60", pa.array(times).cast(pa.string()), ":")
    known = pa.array((place + number) % UNKNOWN_VOLUME_OF > 0)
    columns = {
        "event_id": ids,
        "symbol": pa.repeat(symbol, count),
        "source": source,
        "kind": pa.repeat("bar", count),
        "event_time": pa.array(times).cast(TIME),
        "interval_seconds": pa.repeat(60, count),
        **{
            name: decimals(cents * _CENT, PRICE)
            for name, cents in (("open", opening), ("high", high), ("low", low), ("close", close))
        },
        "volume": pc.if_else(known, decimals(volume * _THOUSANDTH, VOLUME), None),
        "kafka_partition": pa.repeat(number % 2, count),
        "kafka_offset": place * symbols + number,
        "revision": pa.repeat(0, count),
    }
    return pa.table(columns).select(EVENT_SCHEMA.names).cast(EVENT_SCHEMA)


def decimals(units: np.ndarray, kind: pa.Decimal128Type) -> pa.Array:
    """Whole numbers, not negative, of the kind's smallest digit each."""
    words = np.column_stack((units, np.zeros_like(units))).astype("<i8")
    return pa.Array.from_buffers(kind, len(units), [None, pa.py_buffer(words.tobytes())])
