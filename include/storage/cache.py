"""The latest price of each symbol in Redis: contract §5. Redis is a cache; PostgreSQL is the truth."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, cast

import redis

from include.market.event import plain
from include.settings import required, settings

CHANNEL = "prices"
_FILLED = "prices:filled"
#: Write and announce a price only if it is not older than the one held: replays and races are harmless.
_SET_IF_NEWER = """
local held = redis.call('GET', KEYS[1])
if held and cjson.decode(held)['as_of'] > tonumber(ARGV[2]) then return 0 end
if held == ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1])
redis.call('PUBLISH', ARGV[3], ARGV[4])
return 1
"""
_FORGET = """
local held = redis.call('GET', KEYS[1])
if held and cjson.decode(held)['event_time'] == tonumber(ARGV[1]) then redis.call('DEL', KEYS[1]) end
"""


@dataclass(frozen=True, slots=True)
class LatestPrice:
    """A price and when it held. Times are UTC epoch microseconds.

    `event_time` is the event's own (a bar's start); `as_of` is when the price was made (a bar's end),
    and orders prices of different kinds. `change_pct` is against the last close of the day before.
    """

    symbol: str
    price: Decimal
    event_time: int
    as_of: int
    source: str
    currency: str | None
    change_pct: Decimal | None = None

    def as_json(self) -> dict[str, Any]:
        return {
            "price": plain(self.price),
            "event_time": self.event_time,
            "as_of": self.as_of,
            "source": self.source,
            "currency": self.currency,
            "change_pct": None if self.change_pct is None else float(self.change_pct),
        }


class CacheManager:
    """`price:<SYMBOL>` keys and the channel `prices`."""

    def __init__(self, redis_url: str | None = None) -> None:
        url = redis_url or required(settings().redis_url, "REDIS_URL")
        self._client = redis.Redis.from_url(url, decode_responses=True, socket_timeout=5)
        self._set_if_newer = self._client.register_script(_SET_IF_NEWER)
        self._forget = self._client.register_script(_FORGET)

    def set_many(self, prices: Iterable[LatestPrice]) -> None:
        """One write a symbol, in one round trip; an older price never replaces a newer one."""
        with self._client.pipeline(transaction=False) as pipeline:
            for price in prices:
                value = price.as_json()
                self._set_if_newer(
                    keys=[_key(price.symbol)],
                    args=[
                        json.dumps(value),
                        price.as_of,
                        CHANNEL,
                        json.dumps({"symbol": price.symbol, **value}),
                    ],
                    client=pipeline,
                )
            pipeline.execute()

    def forget(self, events: Iterable[tuple[str, int]]) -> None:
        """Prices of these events, by symbol and event_time, are not the latest any more, where they still are."""
        with self._client.pipeline(transaction=False) as pipeline:
            for symbol, event_time in events:
                self._forget(keys=[_key(symbol)], args=[event_time], client=pipeline)
            pipeline.execute()

    def set_latest_price(
        self, symbol: str, price: Decimal | float | str, source: str = "manual", currency: str = "USD"
    ) -> None:
        """Set one price as of now, by hand or from a script."""
        now = time.time_ns() // 1_000
        self.set_many([LatestPrice(symbol, Decimal(str(price)), now, now, source, currency)])

    def get_latest_price(self, symbol: str) -> Decimal | None:
        """The price alone; None if there is none."""
        latest = self.get_latest(symbol)
        return None if latest is None else Decimal(latest["price"])

    def get_latest(self, symbol: str) -> dict[str, Any] | None:
        """The whole record of contract §5; None if there is none."""
        return self.get_many([symbol]).get(symbol)

    def get_many(self, symbols: Iterable[str]) -> dict[str, dict[str, Any]]:
        """Records of the symbols that have one, in one round trip."""
        names = list(symbols)
        if not names:
            return {}
        values = cast("list[str | None]", self._client.mget([_key(name) for name in names]))
        return {name: json.loads(value) for name, value in zip(names, values, strict=True) if value}

    def is_filled(self) -> bool:
        """Whether Redis still is what `mark_filled` was said of: not emptied since, not started again."""
        return self._client.get(_FILLED) == self._run_id()

    def mark_filled(self) -> None:
        """Say that every price of the warehouse is here."""
        self._client.set(_FILLED, self._run_id())

    def ping(self) -> bool:
        """Raises redis.RedisError if Redis is out of reach."""
        return bool(self._client.ping())

    def close(self) -> None:
        self._client.close()

    def _run_id(self) -> str:
        return str(self._client.info("server")["run_id"])


def _key(symbol: str) -> str:
    return f"price:{symbol}"
