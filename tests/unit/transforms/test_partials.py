"""Partials merge to the same candles in any order and any split; and the tests' two references agree."""

from __future__ import annotations

import random
from decimal import Decimal
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from include.market.candle import INTERVAL_SECONDS, Interval
from spark_jobs.transforms import candles
from spark_jobs.transforms.candles import candles_from, candles_of_table, counted, merged, partials_of
from tests.unit.transforms import exact, reference
from tests.unit.transforms.test_candles import EVENT_SCHEMA, Row, event

Candles = dict[tuple[str, int], Row]
#: Ticks of a price, and units of a volume: small ones tie, the largest have all the digits that a column holds.
_PRICES = st.one_of(st.integers(1, 4), st.integers(1, 10**18 - 1))
_VOLUMES = st.one_of(st.none(), st.integers(0, 3), st.integers(0, 10**28 - 1))
#: Bounded by what 128 bits hold, for the reference by whole numbers.
_USUAL_PRICES = st.one_of(st.integers(1, 4), st.integers(1, 10**15))
_USUAL_VOLUMES = st.one_of(st.none(), st.integers(0, 3), st.integers(0, 10**18))


@st.composite
def streams(draw: st.DrawFn, prices: Any = _PRICES, volumes: Any = _VOLUMES) -> list[Row]:
    """Up to sixty events of two symbols in six minutes, each row of market_events: ids may have several revisions."""
    rows = []
    for number in range(draw(st.integers(1, 60))):
        kind = draw(st.sampled_from(["bar", "trade", "quote"]))
        length = draw(st.sampled_from([60, 60, 300, 3_600])) if kind == "bar" else 0
        at = 60 * draw(st.integers(0, 5)) if kind == "bar" else draw(st.sampled_from([0, 1, 59.999999, 60, 301]))
        walk = sorted(draw(st.tuples(prices, prices, prices, prices)))
        figures = [Decimal(f"{price}E-8") for price in (walk[1], walk[3], walk[0], walk[2])]
        volume = draw(volumes)
        source = draw(st.sampled_from(["yahoo", "binance"]))
        symbol = draw(st.sampled_from(["AAPL", "BTC-USD"]))
        # Some come by another door: without an offset, as a revision of what may be held or not.
        offset = None if draw(st.integers(0, 5)) == 0 else number
        row = event(
            kind, at, " ".join(map(str, figures if kind == "bar" else figures[:1])), symbol=symbol, source=source,
            interval_seconds=length, kafka_offset=offset, kafka_partition=None if offset is None else 0,
            event_id=f"{source}:{symbol}:{kind}{length}:{at if kind == 'bar' else number % 40}",
            revision=0 if offset is not None else number + 1,
        )  # fmt: skip
        rows.append(row | {"volume": None if volume is None else Decimal(f"{volume}E-8")})
    return _first_deliveries(rows)


def _first_deliveries(rows: list[Row]) -> list[Row]:
    """As the key of market_events has it: an id once a revision."""
    held: dict[tuple[str, int], Row] = {}
    for row in rows:
        held.setdefault((row["event_id"], row["revision"]), row)
    return list(held.values())


def table(rows: list[Row]) -> pa.Table:
    return pa.Table.from_pylist(rows, schema=EVENT_SCHEMA)


def by_key(candles: pa.Table, interval: Interval) -> Candles:
    found = {}
    for row in candles.to_pylist():
        if row.pop("interval") == interval:
            found[row.pop("symbol"), round(row.pop("window_start").timestamp() * 1e6)] = row
    return found


@settings(max_examples=100, deadline=None)
@given(streams(), st.randoms(use_true_random=False))
def test_any_split_in_any_order_gives_the_candles_of_the_whole(rows: list[Row], dice: random.Random) -> None:
    whole = candles_of_table(table(rows))
    facts = counted(table(rows)).to_pylist()
    dice.shuffle(facts)
    pieces = []
    while facts:
        size = dice.randint(1, len(facts))
        pieces.append(partials_of(table(facts[:size])))
        facts = facts[size:]
    # Merged two at a time and anyhow: what is merged already with what is not, from either side.
    while len(pieces) > 1:
        dice.shuffle(pieces)
        pieces.append(merged(pa.concat_tables([pieces.pop(), pieces.pop()])))
    found = candles_from(merged(pieces[0]))
    for interval in INTERVAL_SECONDS:
        assert by_key(found, interval) == by_key(whole, interval)
        assert by_key(whole, interval) == reference.candles(rows, interval)


@settings(max_examples=40, deadline=None)
@given(streams(), st.randoms(use_true_random=False), st.integers(1, 9))
def test_the_order_of_the_rows_and_the_blocks_of_work_say_nothing(
    rows: list[Row], dice: random.Random, block: int
) -> None:
    whole = candles_of_table(table(rows))
    dice.shuffle(rows)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(candles, "_BLOCK", block)
        parts = candles_of_table(table(rows))
    for interval in INTERVAL_SECONDS:
        assert by_key(parts, interval) == by_key(whole, interval)


@settings(max_examples=40, deadline=None)
@given(streams(_USUAL_PRICES, _USUAL_VOLUMES))
def test_the_two_references_agree(rows: list[Row]) -> None:
    figures = [
        row | {name: None if row[name] is None else int(row[name].scaleb(8)) for name in (*exact.PRICES, "volume")}
        for row in rows
    ]
    frame = pl.DataFrame(figures, schema_overrides=exact.EVENTS).select(exact.EVENTS.names())
    for interval in reference.SECONDS:
        assert exact.candles(frame, interval) == reference.candles(rows, interval)


def test_the_fast_reference_refuses_what_it_cannot_add_up() -> None:
    row = event("trade", 0, "9999999999") | {"volume": 10**28 - 1} | dict.fromkeys(exact.PRICES, 10**18 - 1)
    frame = pl.DataFrame([row], schema_overrides=exact.EVENTS).select(exact.EVENTS.names())
    with pytest.raises(OverflowError):
        exact.candles(frame, "1m")
