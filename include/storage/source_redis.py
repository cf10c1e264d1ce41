"""Calls and health of the sources in Redis: fast, and as good as its present run."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from include.storage.source_state import Call, Held, StoreAway, state_key

# The calls only change together with the state, so the state alone shows whether another process was first.
_REPLACE = """
if (redis.call('GET', KEYS[1]) or '') ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2])
for i = 4, #ARGV, 2 do redis.call('ZADD', KEYS[2], ARGV[i], ARGV[i + 1]) end
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', '(' .. ARGV[3])
return 1
"""


class RedisSourceState:
    """`source:health:<source>`: the state as JSON; `source:calls:<source>`: a member a unit, scored by µs.

    Redis writes its memory to disk now and then only. It is whole as long as it runs: the state says in
    which run it was written, and a run that has just begun may have begun with an older picture.
    """

    name = "Redis"

    def __init__(self, redis_url: str) -> None:
        # One more try at once is for a connection that a restart has cut; waiting is the caller's business.
        self._client = redis.Redis.from_url(
            redis_url, socket_timeout=1, socket_connect_timeout=1, retry=Retry(NoBackoff(), 1)
        )
        self._replace = self._client.register_script(_REPLACE)

    @contextmanager
    def locked(self, source: str) -> Iterator[None]:
        """Nothing to hold: `replace` compares."""
        yield

    def read(self, source: str) -> Held:
        with self._away():
            raw = cast("bytes | None", self._client.get(state_key(source)))
            if raw is None:
                return Held({}, is_whole=False)
            state = json.loads(raw)
            return Held(state["health"], state["stamp"], state["revision"], state["run"] == self._run(), raw)

    def replace(self, source: str, held: Held, following: Held, calls: Sequence[Call], purge_us: int) -> bool:
        units = [part for call in calls for unit in range(call.cost) for part in (call.at_us, f"{call.id}:{unit}")]
        with self._away():
            state = {
                "health": following.health,
                "stamp": following.stamp,
                "revision": following.revision,
                "run": self._run(),
            }
            keys = [state_key(source), _calls_key(source)]
            return bool(self._replace(keys=keys, args=[held.raw, json.dumps(state), purge_us, *units]))

    def calls(self, source: str) -> list[Call]:
        with self._away():
            units = cast("list[tuple[bytes, float]]", self._client.zrange(_calls_key(source), 0, -1, withscores=True))
        found = Counter((member.decode().rpartition(":")[0], int(score)) for member, score in units)
        return [Call(call_id, at_us, cost) for (call_id, at_us), cost in found.items()]

    def unit_at(self, source: str, newer: int) -> int | None:
        with self._away():
            found = cast("list[Any]", self._client.zrevrange(_calls_key(source), newer, newer, withscores=True))
        return int(found[0][1]) if found else None

    def units_since(self, source: str, since_us: int) -> int:
        with self._away():
            return self._client.zcount(_calls_key(source), since_us, "+inf")

    def close(self) -> None:
        self._client.close()

    def _run(self) -> str:
        return str(self._client.info("server")["run_id"])

    @contextmanager
    def _away(self) -> Iterator[None]:
        try:
            yield
        except redis.RedisError as error:
            raise StoreAway(self, error) from error


def _calls_key(source: str) -> str:
    return f"source:calls:{source}"
