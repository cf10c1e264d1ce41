"""Changes of prices as Redis announces them (contract §5: channel `prices`)."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any, Protocol

import redis
from redis.asyncio import Redis

from include.storage.cache import CHANNEL


class Feed(Protocol):
    """Yields None once it listens, then each change; raises redis.RedisError when there is no channel any more."""

    def changes(self) -> AsyncIterator[dict[str, Any] | None]: ...


class PriceFeed:
    """One subscription for a process, however many browsers look on."""

    def __init__(self, redis_url: str) -> None:
        self._url = redis_url

    async def changes(self) -> AsyncIterator[dict[str, Any] | None]:
        """First None, then `{"symbol", "price", "event_time", "as_of", "source", "currency", "change_pct"}` of each."""
        client = Redis.from_url(
            self._url, decode_responses=True, socket_connect_timeout=2, socket_timeout=None, health_check_interval=5
        )
        try:
            async with client.pubsub(ignore_subscribe_messages=True) as channel:
                await channel.subscribe(CHANNEL)
                await client.ping()
                yield None
                while True:
                    # The pause lets a dead connection be noticed by its health check.
                    message = await channel.get_message(timeout=1.0)
                    if message is not None:
                        yield json.loads(message["data"])
        except OSError as error:
            raise redis.ConnectionError(str(error)) from error
        finally:
            await client.aclose()
