"""The two producers with the real sources, recorded answers and the in-memory ends."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from include.errors import SettingsError, SymbolUnknown
from include.producers.crypto_producer import CryptoDataProducer
from include.producers.failover import MemorySwitchboard
from include.producers.market_producer import Parts
from include.producers.progress import NoTrades
from include.producers.publisher import ListPublisher
from include.producers.report import IngestionReport
from include.producers.stock_producer import StockDataProducer
from include.producers.watermarks import MemoryWatermarks
from include.settings import Settings
from include.sources.gate import OpenGate
from tests.unit.sources.answers import Answer, AnswerServer

AFTER_THE_CLOSE = 1_727_986_000_000_000
MAY_2020 = 1_588_743_720_000_000


def memory_parts() -> Parts:
    return Parts(OpenGate(), MemorySwitchboard(), ListPublisher(), MemoryWatermarks(), NoTrades)


def test_a_stock_batch_publishes_the_recorded_day(server: AnswerServer, shared_data: Path) -> None:
    day = (shared_data / "responses/yahoo/chart_AAPL_1m_20241002.json").read_bytes()
    delisted = (shared_data / "responses/yahoo/error_404_chart_SI_delisted.json").read_bytes()
    server.answers = [Answer(delisted, 404), Answer(day)]
    parts = memory_parts()
    producer = StockDataProducer(
        Settings(stock_symbols=("IBM", "AAPL"), yahoo_base_url=server.url, initial_lookback_minutes=10_080),
        parts,
        clock=lambda: AFTER_THE_CLOSE,
    )
    with producer:
        report = producer.run_once()
        again = producer.run_once()
    (counts,) = report.sources
    assert (counts.bars, counts.quotes, counts.requested) == (389, 1, ("IBM", "AAPL"))
    assert counts.failed["IBM"].startswith("bar60: SymbolUnknown")
    assert len(parts.publisher.events) == 390
    assert (again.sources[0].bars, again.sources[0].quotes) == (0, 0)
    assert json.loads(json.dumps(report.as_dict()))["sources"][0]["bars"] == 389
    assert report.rows()[0][:4] == ("yahoo", "2", "389", "1")
    assert len(report.rows()[0]) == len(IngestionReport.COLUMNS)


def test_a_crypto_batch_publishes_bars_and_prices(server: AnswerServer, shared_data: Path) -> None:
    answers = shared_data / "responses/binance"
    hour = (answers / "klines_BTCUSDT_1m_20200506.json").read_bytes()
    prices = (answers / "ticker_24hr_two_symbols.json").read_bytes()
    server.answers = [Answer(hour), Answer(prices)]
    parts = memory_parts()
    producer = CryptoDataProducer(
        Settings(crypto_symbols=("BTC-USD",), binance_base_url=server.url),
        parts,
        clock=lambda: MAY_2020,
    )
    with producer:
        (counts,) = producer.run_once().sources
    # The prices were recorded years after the hour, so here they come from the future.
    assert (counts.bars, counts.quotes, counts.rejected, counts.failed) == (60, 0, 1, {})
    assert [letter["symbol"] for letter in parts.publisher.dead_letters] == ["BTC-USD"]
    assert [path for path, _ in server.asked] == ["/api/v3/klines", "/api/v3/ticker/24hr"]


def test_a_batch_in_which_every_symbol_fails_raises(server: AnswerServer, shared_data: Path) -> None:
    server.answers = [Answer((shared_data / "responses/binance/error_400_invalid_symbol.json").read_bytes(), 400)]
    producer = CryptoDataProducer(
        Settings(crypto_symbols=("BTC-USD", "ETH-USD"), binance_base_url=server.url),
        memory_parts(),
    )
    with producer, pytest.raises(SymbolUnknown, match="-1121"):
        producer.run_once()


def test_without_symbols_there_is_nothing_to_do_and_nothing_is_needed() -> None:
    assert StockDataProducer(Settings(stock_symbols=())).run_once() == IngestionReport("stock")


def test_a_symbol_of_the_other_kind_is_refused_by_its_setting() -> None:
    with pytest.raises(SettingsError, match="CRYPTO_SYMBOLS: AAPL"):
        CryptoDataProducer(Settings(crypto_symbols=("AAPL",))).run_once()
