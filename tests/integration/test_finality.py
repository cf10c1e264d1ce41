"""When a window is final: by the watermark of its own market, whatever its symbol does; by the clock in silence."""

from __future__ import annotations

import random
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from decimal import Decimal
from threading import Event

import msgspec
import pytest
from pyspark.sql import SparkSession

from include.market.event import AssetClass, bar, trade
from tests.integration.deliveries import (
    BASE,
    DELAY_US,
    HOUR,
    MINUTE,
    SECOND,
    Delivery,
    Shape,
    cut,
    records,
    with_offsets,
)
from tests.integration.expected import Truth, assert_figures_equal
from tests.integration.warehouse import Stream, Warehouse, driver, spark, warehouse

__all__ = ["spark", "warehouse"]

FINAL = "SELECT symbol, interval, is_final FROM candles ORDER BY symbol, interval, window_start"


def a_bar(symbol: str, minute: int, close: int = 100) -> Delivery:
    price, start = Decimal(close), BASE + minute * MINUTE
    event = bar(
        symbol=symbol, asset_class="stock", source="yahoo", start=start, interval_seconds=60, prices=(price,) * 4,
        volume=Decimal(1), currency="USD", ingested_at=start,
    )  # fmt: skip
    return Delivery(event, start + MINUTE)


def a_trade(symbol: str, number: int, at: int, asset_class: AssetClass = "stock") -> Delivery:
    """`at` in microseconds after BASE."""
    event = trade(
        symbol=symbol, asset_class=asset_class, source="binance", trade_id=number, time=BASE + at,
        price=Decimal(100), volume=Decimal(1), currency="USD", ingested_at=BASE + at,
    )  # fmt: skip
    return Delivery(event, BASE + at)


class Feed:
    """Batches of one query, told to the truth as well."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.truth = Truth()
        self.sent: list[Delivery] = []

    def batch(self, *deliveries: Delivery) -> None:
        known = len(self.sent)
        last = max((delivery.at for delivery in self.sent), default=0)
        self.sent = with_offsets([*self.sent, *(replace(one, at=max(one.at, last)) for one in deliveries)], 1)
        self.truth.batch(self.sent[known:])
        self.stream.write(records(self.sent[known:], self.stream.asset_class))

    def assert_equal(self) -> None:
        wanted, warehouse, kind = self.truth.candles(), self.stream.warehouse, self.stream.asset_class
        assert warehouse.candles(kind) == wanted
        assert_figures_equal(wanted, warehouse.indicators(kind), warehouse.anomalies(kind))
        late = warehouse.rows("SELECT kafka_partition, kafka_offset FROM late_events WHERE kafka_topic = %s", kind)
        assert set(late) == self.truth.late


def feed(spark: SparkSession, warehouse: Warehouse, epoch: int, asset_class: AssetClass = "stock") -> Feed:
    return Feed(Stream(spark, warehouse, asset_class, epoch))


def test_a_quiet_symbol_closes_by_its_markets_watermark(spark: SparkSession, warehouse: Warehouse) -> None:
    warehouse.empty()
    with driver(warehouse) as next_epoch:
        stocks = feed(spark, warehouse, next_epoch())
        stocks.batch(a_trade("QUIET", 0, 10 * SECOND), a_trade("LOUD", 1, 20 * SECOND))
        # One microsecond short of the end of its minute, and the end; then of its five minutes.
        for number, at in enumerate((MINUTE - 1, MINUTE, 5 * MINUTE - 1, 5 * MINUTE), start=2):
            stocks.batch(a_trade("LOUD", number, at + DELAY_US))
            stocks.assert_equal()
            quiet = [row[2] for row in warehouse.rows(FINAL) if row[0] == "QUIET"]
            assert quiet == [number > 2, number > 4]
        stocks.stream.close()


def test_a_repeat_that_moves_the_watermark_closes_windows_too(spark: SparkSession, warehouse: Warehouse) -> None:
    """Its time counts though the event does not: the ledger has it, and a recomputation goes by the ledger."""
    warehouse.empty()
    with driver(warehouse) as next_epoch:
        stocks = feed(spark, warehouse, next_epoch())
        first = a_trade("AAPL", 0, 0)
        stocks.batch(first)
        later = msgspec.structs.replace(first.event, event_time=BASE + MINUTE + DELAY_US)
        stocks.batch(Delivery(later, later.event_time))
        stocks.assert_equal()
        before = warehouse.candles("stock")
        warehouse.recompute()
        assert warehouse.candles("stock") == before
        stocks.stream.close()


def test_the_last_windows_before_a_close_become_final_in_silence(spark: SparkSession, warehouse: Warehouse) -> None:
    warehouse.empty()
    with driver(warehouse) as next_epoch:
        epoch = next_epoch()
        stocks, crypto = feed(spark, warehouse, epoch), feed(spark, warehouse, epoch, "crypto")
        stocks.batch(*(a_bar("AAPL", minute, 100 + minute % 3) for minute in range(40)))
        crypto.batch(a_trade("BTC-USD", 0, 0, "crypto"))
        figures = warehouse.indicators("stock"), warehouse.anomalies("stock")
        assert stocks.stream.sink.finalise_silent() == 0
        stocks.assert_equal()
        warehouse.rows(
            "UPDATE stream_batches SET committed_at = committed_at - interval '1 hour' WHERE query_name = %s",
            stocks.stream.name,
        )
        # The other market is not silent, and its windows stay open.
        assert crypto.stream.sink.finalise_silent() == 0
        assert stocks.stream.sink.finalise_silent() == sum(not row[-1] for row in stocks.truth.candles().values())
        crypto.assert_equal()
        assert warehouse.candles("stock") == {key: (*row[:-1], True) for key, row in stocks.truth.candles().items()}
        assert (warehouse.indicators("stock"), warehouse.anomalies("stock")) == figures

        # Final says that nothing is expected, not that nothing is heard: what comes still counts, and stays final.
        stocks.batch(a_trade("AAPL", 1, 39 * MINUTE + 30 * SECOND))
        assert warehouse.candles("stock") == {key: (*row[:-1], True) for key, row in stocks.truth.candles().items()}
        before = warehouse.candles("stock")
        warehouse.recompute()
        assert warehouse.candles("stock") == before
        stocks.stream.close()
        crypto.stream.close()


def test_no_market_closes_makes_late_or_refuses_anothers(spark: SparkSession, warehouse: Warehouse) -> None:
    """One is days ahead and full of poison; the other's windows, lateness and ledger know nothing of it."""
    warehouse.empty()
    with driver(warehouse) as next_epoch:
        epoch = next_epoch()
        stocks, crypto = feed(spark, warehouse, epoch), feed(spark, warehouse, epoch, "crypto")
        stocks.batch(a_bar("AAPL", 0))
        ahead = a_trade("BTC-USD", 0, 0, "crypto")
        poison = [replace(ahead, is_future=True, at=ahead.at - 6 * SECOND) for _ in range(3)]
        crypto.batch(*poison, a_trade("BTC-USD", 1, 72 * HOUR, "crypto"))
        stocks.batch(a_bar("AAPL", 1), a_bar("MSFT", 0))
        crypto.batch(a_trade("BTC-USD", 2, 0, "crypto"))
        stocks.assert_equal()
        crypto.assert_equal()
        assert not any(row[-1] for row in warehouse.candles("stock").values())
        ledger = "SELECT query_name, sum(rows_dead_lettered)::int, sum(rows_late)::int FROM stream_batches GROUP BY 1"
        assert sorted(warehouse.rows(ledger)) == [("events_crypto", 3, 1), ("events_stock", 0, 0)]
        stocks.stream.close()
        crypto.stream.close()


@pytest.mark.parametrize("seed", [1, 2])
def test_both_markets_and_a_recomputation_at_once(spark: SparkSession, warehouse: Warehouse, seed: int) -> None:
    """Each in its own thread: none waits for ever, and all rows are right in the end."""
    warehouse.empty()
    shape = Shape(
        seed=seed, symbols=3, minutes=90, gaps=0.02, switches=0.02, second_source=0.05, repeats=0.1, late=0.05,
        future=0.02, jumps=0.03, longest_delay=300,
    )  # fmt: skip
    ended = Event()

    def run(one: Feed, batches: Sequence[Sequence[Delivery]]) -> None:
        for batch in batches:
            one.truth.batch(batch)
            one.stream.write(records(batch, one.stream.asset_class))
        one.stream.close()

    def recompute() -> int:
        rounds = 0
        while not ended.is_set():
            warehouse.recompute()
            rounds += 1
        return rounds

    with driver(warehouse) as next_epoch, ThreadPoolExecutor(3) as pool:
        epoch = next_epoch()
        shapes = [shape, replace(shape, asset_class="crypto")]
        feeds = [feed(spark, warehouse, epoch, shape.asset_class) for shape in shapes]
        running = [
            pool.submit(run, one, cut(shape.deliveries(), 8, random.Random(seed)))
            for one, shape in zip(feeds, shapes, strict=True)
        ]
        recomputing = pool.submit(recompute)
        try:
            for query in running:
                query.result()
        finally:
            ended.set()
        assert recomputing.result() > 1
    warehouse.repair()
    for one in feeds:
        one.assert_equal()
