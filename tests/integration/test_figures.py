"""Candles, indicators and anomalies of the stream equal a batch recomputation and an independent calculation."""

from __future__ import annotations

import gzip
import random
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psycopg
import pytest
from pyspark.sql import SparkSession

from include.market.event import MICROSECONDS, MarketEvent
from include.storage.stream_store import StreamStore
from spark_jobs.recompute import recompute_day, repair_indicators
from tests.integration.test_sink import BASE, DELAY, MINUTE, Query, epoch, minute, query, spark
from tests.stores import Services
from tests.unit.transforms import reference

__all__ = ["epoch", "query", "spark"]

INDICATORS = ("log_return", "sma_20", "ema_12", "ema_26", "bollinger_upper", "bollinger_middle", "bollinger_lower", "volatility_20")  # fmt: skip # noqa: E501
CANDLES = (
    "SELECT symbol, interval, window_start, open, high, low, close, volume, vwap, event_count, source FROM candles "
    "WHERE symbol LIKE %s ORDER BY symbol, interval, window_start"
)
FIGURES = (
    f"SELECT symbol, interval, window_start, {', '.join(INDICATORS)} FROM indicators "
    "WHERE symbol LIKE %s ORDER BY symbol, interval, window_start"
)
ANOMALIES = (
    "SELECT symbol, interval, window_start, metric, value, mean, stddev, z_score, severity FROM price_anomalies "
    "WHERE symbol LIKE %s ORDER BY symbol, interval, window_start, metric"
)


def trade(symbol: str, number: int, at: int, price: Decimal, volume: Decimal | None) -> MarketEvent:
    """`at` in microseconds."""
    return MarketEvent(
        event_id=f"binance:{symbol}:trade:{number}", symbol=symbol, asset_class="stock", source="binance",
        kind="trade", event_time=at, interval_seconds=0, open=price, high=price, low=price, close=price,
        volume=volume, currency="USD", ingested_at=at,
    )  # fmt: skip


def recorded_trades(folder: Path, name: str, symbol: str, count: int) -> list[MarketEvent]:
    """The first trades of a recorded day, under a symbol of the test's own."""
    with gzip.open(folder / "trades" / "us_equity" / name, "rt") as file:
        frame = pd.read_csv(file, nrows=count, dtype=str)
    times = pd.to_datetime(frame["ts_utc"], utc=True).astype("int64") // 1_000
    return [
        trade(symbol, number, int(at), Decimal(price), Decimal(size))
        for number, (at, price, size) in enumerate(zip(times, frame["price"], frame["size"], strict=True))
    ]


def recorded_bars(folder: Path, name: str, symbol: str, count: int) -> list[MarketEvent]:
    with gzip.open(folder / "bars_1m" / "us_equity" / name, "rt") as file:
        frame = pd.read_csv(file, nrows=count, dtype=str)
    starts = pd.to_datetime(frame["ts_utc"], utc=True).astype("int64") // 1_000
    return [
        MarketEvent(
            event_id=f"yahoo:{symbol}:bar60:{start}", symbol=symbol, asset_class="stock", source="yahoo", kind="bar",
            event_time=int(start), interval_seconds=60, open=Decimal(row.open), high=Decimal(row.high),
            low=Decimal(row.low), close=Decimal(row.close), volume=Decimal(row.volume), currency="USD",
            ingested_at=int(start),
        )
        for start, row in zip(starts, frame.itertuples(), strict=True)
    ]  # fmt: skip


def shuffled(events: Sequence[MarketEvent], dice: random.Random) -> list[MarketEvent]:
    """Each up to five minutes late, a tenth twice, as an arrival order inside the watermark."""
    arrivals = [(event.event_time + dice.randrange(300) * MICROSECONDS, event) for event in events]
    arrivals += [
        (at + dice.randrange(60) * MICROSECONDS, event) for at, event in dice.sample(arrivals, len(events) // 10)
    ]
    return [event for _, event in sorted(arrivals, key=lambda pair: pair[0])]


def split(events: Sequence[MarketEvent], parts: int, dice: random.Random) -> Iterator[Sequence[MarketEvent]]:
    edges = sorted(dice.sample(range(1, len(events)), parts - 1))
    for first, last in zip([0, *edges], [*edges, len(events)], strict=True):
        yield events[first:last]


def assert_equals_batch_and_reference(query: Query, spark: SparkSession, symbols: str) -> None:
    """`symbols` is a LIKE pattern."""
    before = [query.rows(statement, symbols) for statement in (CANDLES, FIGURES, ANOMALIES)]
    assert all(before[:2])
    store = StreamStore(query.services.writer_database_url, 0)
    for day in sorted({row[2].astimezone(UTC).date() for row in before[0]}):
        recompute_day(store, day, "stock", DELAY)
    repair_indicators(store)
    store.close()
    again = [query.rows(statement, symbols) for statement in (CANDLES, FIGURES, ANOMALIES)]
    # Indicators too are equal to the last bit: context or whole history, the arithmetic is the same.
    assert before == again
    assert_equals_reference(*before)


def assert_equals_reference(candles: list[Any], figures: list[Any], anomalies: list[Any]) -> None:
    columns = ["symbol", "interval", "window_start"]
    names = [*columns, "open", "high", "low", "close", "volume", "vwap", "event_count", "source"]
    frame = pd.DataFrame(candles, columns=names)
    frame = frame.assign(close=frame["close"].astype(float), volume=frame["volume"].astype(float))
    expected = reference.indicators(frame).sort_values(columns).reset_index(drop=True)
    found = pd.DataFrame(figures, columns=[*columns, *INDICATORS])
    assert list(map(tuple, found[columns].to_numpy())) == list(map(tuple, expected[columns].to_numpy()))
    for name in INDICATORS:
        np.testing.assert_allclose(found[name].astype(float), expected[name].astype(float), rtol=1e-9, atol=1e-12)
    odd = reference.anomalies(frame.merge(expected[[*columns, "log_return"]], on=columns))
    wanted = odd.sort_values([*columns, "metric"]).reset_index(drop=True)
    assert [row[:4] for row in anomalies] == list(map(tuple, wanted[[*columns, "metric"]].to_numpy()))
    for place, name in enumerate(("value", "mean", "stddev", "z_score"), start=4):
        np.testing.assert_allclose([row[place] for row in anomalies], wanted[name].astype(float), rtol=1e-9, atol=1e-12)
    assert [row[8] for row in anomalies] == list(wanted["severity"])


@pytest.mark.parametrize("seed", [1, 2])
def test_recorded_trades_and_bars_in_any_order_and_split(
    query: Query, spark: SparkSession, shared_data: Path, seed: int
) -> None:
    dice = random.Random(seed)
    pattern = f"Q{seed}%"
    trades = recorded_trades(shared_data, "IBM_20131008.csv.gz", f"Q{seed}T", 6_000)
    bars = recorded_bars(shared_data, "IBM_20131007-20131009.csv.gz", f"Q{seed}B", 600)
    batches = [list(split(shuffled(events, dice), 6, dice)) for events in (trades, bars)]
    for number, (some_trades, some_bars) in enumerate(zip(*batches, strict=True)):
        query.batch(number, *some_trades, *some_bars)
        if number == 3:
            # As after a crash of PostgreSQL: the partials are gone, their windows are counted again.
            query.rows("DELETE FROM candle_partials RETURNING symbol")
    assert query.rows("SELECT count(*) FROM market_events WHERE symbol LIKE %s", pattern) == [(6_600,)]
    assert_equals_batch_and_reference(query, spark, pattern)


def test_quotes_bars_and_trades_of_one_window_in_separate_batches(query: Query, spark: SparkSession) -> None:
    quote = trade("M1", 0, BASE + 5, Decimal(50), None)
    quotes = [
        MarketEvent(**{**_fields(quote), "kind": "quote", "event_id": f"q{n}", "event_time": BASE + n}) for n in (5, 1)
    ]
    query.batch(0, *quotes)
    query.batch(1, trade("M1", 1, BASE + 9, Decimal(7), Decimal(2)))
    query.batch(2, minute("M1", 0, 10))
    # A second source tells of the same minute: it is not added, though its window has a partial.
    other = MarketEvent(**_fields(minute("M1", 0, 99)) | {"source": "alpha_vantage", "event_id": "other"})
    query.batch(3, other, trade("M1", 2, BASE + 2 * MINUTE, Decimal(8), None))
    rows = query.rows("SELECT close, volume, event_count FROM candles WHERE symbol = 'M1' AND interval = '5m'")
    assert rows == [(8, 3, 3)]
    assert_equals_batch_and_reference(query, spark, "M1")


def test_a_late_event_corrects_every_later_figure_and_withdraws_an_anomaly(query: Query, spark: SparkSession) -> None:
    prices = [100 + (number % 3) for number in range(70)] + [140, 141, 140, 141]
    query.batch(0, *(minute("W1", number, price) for number, price in enumerate(prices) if number != 69))
    found = "SELECT window_start FROM price_anomalies WHERE symbol = 'W1' AND metric = 'price' AND interval = '1m'"
    told = (
        "SELECT body ->> 'state' FROM anomaly_outbox "
        "WHERE body ->> 'symbol' = 'W1' AND body ->> 'interval' = '1m' ORDER BY id"
    )
    assert query.rows(found) == [(_at(70),)]
    assert query.rows(told) == [("raised",)]
    # The minute between makes the jump two minutes older.
    query.batch(1, minute("W1", 69, 140))
    assert query.rows(found) == [(_at(69),)]
    assert sorted(query.rows(told)) == [("raised",), ("raised",), ("withdrawn",)]
    assert_equals_batch_and_reference(query, spark, "W1")


def test_where_very_much_hangs_on_a_late_event_the_repair_does_it(query: Query, spark: SparkSession) -> None:
    query.batch(0, *(minute("D1", number, 100 + number % 7) for number in range(30) if number != 2))
    object.__setattr__(query.sink, "later_candles", 10)
    query.batch(1, minute("D1", 2, 150))
    waiting = "SELECT interval, window_start FROM indicator_repairs WHERE symbol = 'D1'"
    assert query.rows(waiting) == [("1m", _at(2))]
    store = StreamStore(query.services.writer_database_url, 0)
    assert repair_indicators(store)["changed"] >= 27
    store.close()
    assert query.rows(waiting) == []
    assert_equals_batch_and_reference(query, spark, "D1")


def test_candles_from_before_the_indicators_get_theirs_with_the_next_event(query: Query, spark: SparkSession) -> None:
    query.batch(0, *(minute("U1", number, 100 + number % 7) for number in range(40)))
    with psycopg.connect(query.services.database_url) as connection:
        connection.execute("DELETE FROM indicators WHERE symbol = 'U1'")
    query.batch(1, minute("U1", 40, 103))
    assert query.rows("SELECT count(*) FROM indicators WHERE symbol = 'U1' AND interval = '1m'") == [(41,)]
    assert_equals_batch_and_reference(query, spark, "U1")


def test_anomalies_are_sent_at_least_once_and_then_no_more(query: Query, services: Services) -> None:
    query.batch(0, *(minute("O1", number, 100 + number % 3) for number in range(50)), minute("O1", 50, 150))
    store = StreamStore(services.writer_database_url, query.sink.epoch)
    sent: list[dict[str, Any]] = []

    def fails(bodies: list[dict[str, Any]]) -> None:
        sent.extend(bodies)
        raise ConnectionError("the broker is away")

    with pytest.raises(ConnectionError):
        store.send_anomalies(fails)
    first, sent = sent, []
    while store.send_anomalies(sent.extend):
        pass
    assert first == sent[: len(first)]
    assert {body["anomaly_id"] for body in sent} >= {f"O1:1m:{BASE + 50 * MINUTE}:price"}
    assert store.send_anomalies(sent.extend) == 0
    store.close()


def _fields(event: MarketEvent) -> dict[str, Any]:
    return {name: getattr(event, name) for name in event.__struct_fields__}


def _at(number: int) -> datetime:
    return datetime.fromtimestamp((BASE + number * MINUTE) / MICROSECONDS, UTC)
