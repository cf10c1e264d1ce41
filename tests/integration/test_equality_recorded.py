"""Recorded days in other orders and cuts: the stream's rows are the batch's and the reference's, in both markets.

`-m exhaustive` takes every recorded trade.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from include.market.event import decode, encode
from tests.integration import recorded
from tests.integration.expected import assert_figures_equal
from tests.integration.recorded import Day
from tests.integration.warehouse import DERIVED, Stream, Warehouse, driver, spark, warehouse

__all__ = ["spark", "warehouse"]

#: Rows that were compared, by table.
Compared = dict[str, int]


def stream_all(spark: SparkSession, warehouse: Warehouse, days: Sequence[Day], most: int) -> None:
    """The queries of the asset classes run at once, each in its own thread, as in one driver."""
    warehouse.empty()
    with driver(warehouse) as next_epoch:
        epoch = next_epoch()
        streams = [Stream(spark, warehouse, day.asset_class, epoch) for day in days]

        def run(day: Day, stream: Stream) -> None:
            for batch in day.batches(most):
                stream.write(batch)
            stream.close()

        with ThreadPoolExecutor(len(days)) as pool:
            list(pool.map(run, days, streams))


def assert_equal(warehouse: Warehouse, day: Day) -> Compared:
    """How many rows of each table were compared."""
    kind = day.asset_class
    wanted = day.candles()
    assert warehouse.candles(kind) == wanted
    figures = warehouse.indicators(kind), warehouse.anomalies(kind)
    assert_figures_equal(wanted, *figures)
    (events, late) = warehouse.rows(
        "SELECT (SELECT count(*) FROM market_events WHERE asset_class = %s), (SELECT count(*) FROM late_events)", kind
    )[0]
    assert (events, late) == (len(day.events), 0)
    return {"events": events, "candles": len(wanted), "indicators": len(figures[0]), "anomalies": len(figures[1])}


def check(spark: SparkSession, warehouse: Warehouse, days: Sequence[Day], most: int) -> list[Compared]:
    stream_all(spark, warehouse, days, most)
    streamed = [assert_equal(warehouse, day) for day in days]
    rows = [(warehouse.indicators(day.asset_class), warehouse.anomalies(day.asset_class)) for day in days]
    warehouse.rows(f"TRUNCATE {DERIVED}")
    warehouse.recompute()
    assert [assert_equal(warehouse, day) for day in days] == streamed
    # Equal to the reference within 1e-9, to each other to the last bit.
    assert rows == [(warehouse.indicators(day.asset_class), warehouse.anomalies(day.asset_class)) for day in days]
    return streamed


def test_what_is_sent_is_what_the_producers_encode(shared_data: Path) -> None:
    for day in (recorded.bars(shared_data, "crypto"), recorded.trades(shared_data, 10)):
        values = next(day.batches(100))["value"].to_pylist()
        assert [encode(decode(value)) for value in values] == values


def test_minute_bars_of_both_markets(spark: SparkSession, warehouse: Warehouse, shared_data: Path) -> None:
    days = [recorded.bars(shared_data, kind) for kind in ("stock", "crypto")]
    stocks, crypto = check(spark, warehouse, days, most=4_000)
    assert (stocks["events"], crypto["events"]) == (9_183, 11_127)
    assert min(stocks["anomalies"], crypto["anomalies"]) > 100


def test_the_first_trades_of_a_day(spark: SparkSession, warehouse: Warehouse, shared_data: Path) -> None:
    days = [recorded.trades(shared_data, 15_000), recorded.crypto_trades(shared_data)]
    stocks, crypto = check(spark, warehouse, days, most=12_000)
    assert (stocks["events"], crypto["events"]) == (60_000, 1_000)


@pytest.mark.exhaustive
@pytest.mark.timeout(3_600)
@pytest.mark.parametrize("most", [50_000, 7_000])
def test_every_trade_of_a_day(spark: SparkSession, warehouse: Warehouse, shared_data: Path, most: int) -> None:
    days = [recorded.trades(shared_data), recorded.crypto_trades(shared_data)]
    stocks, _ = check(spark, warehouse, days, most)
    assert stocks["events"] == 654_140
