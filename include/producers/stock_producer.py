"""Stocks, from Yahoo Finance and Alpha Vantage, to Kafka."""

from __future__ import annotations

from include.market.event import AssetClass
from include.producers.market_producer import MarketProducer


class StockDataProducer(MarketProducer):
    """STOCK_SYMBOLS to `market.stock.events.v1`: `StockDataProducer().run_once()`."""

    asset_class: AssetClass = "stock"
