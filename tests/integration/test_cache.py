"""The latest prices in the real Redis."""

from __future__ import annotations

from decimal import Decimal

import redis

from include.storage.cache import CHANNEL, CacheManager, LatestPrice
from tests.stores import Services


def price(text: str, as_of: int) -> LatestPrice:
    return LatestPrice("CACHE-TEST", Decimal(text), as_of, as_of, "binance", "USDT")


def test_an_older_price_never_replaces_a_newer_one(services: Services) -> None:
    cache = CacheManager(services.redis_url)
    cache.set_many([price("2.50", 2_000)])
    cache.set_many([price("1.00", 1_000)])
    assert cache.get_latest_price("CACHE-TEST") == Decimal("2.5")
    cache.set_many([price("3", 2_000)])
    assert cache.get_latest_price("CACHE-TEST") == 3


def test_each_change_is_announced_once(services: Services) -> None:
    cache = CacheManager(services.redis_url)
    with redis.Redis.from_url(services.redis_url).pubsub(ignore_subscribe_messages=True) as listener:
        listener.subscribe(CHANNEL)
        listener.get_message(timeout=5)
        for _ in range(2):
            cache.set_many([price("7", 9_000)])
        message = listener.get_message(timeout=5)
        assert message is not None
        assert b"CACHE-TEST" in message["data"]
        assert listener.get_message(timeout=0.5) is None


def test_a_price_set_by_hand_is_read_back(services: Services) -> None:
    cache = CacheManager(services.redis_url)
    cache.set_latest_price("TEST", 100.0)
    assert cache.get_latest_price("TEST") == 100.0
    assert cache.get_latest_price("NOSUCH") is None
