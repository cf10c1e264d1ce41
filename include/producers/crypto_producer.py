"""Crypto, from Binance and CoinGecko, to Kafka."""

from __future__ import annotations

from include.market.event import AssetClass
from include.producers.market_producer import MarketProducer


class CryptoDataProducer(MarketProducer):
    """CRYPTO_SYMBOLS to `market.crypto.events.v1`: `CryptoDataProducer().run_once()`."""

    asset_class: AssetClass = "crypto"
