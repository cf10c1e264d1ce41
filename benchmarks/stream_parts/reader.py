"""A reader that polls: `python -m benchmarks.stream_parts.reader redis|postgres FILE SYMBOL ...`.

Reads what any reader would, `GET price:<SYMBOL>` (many at once) or a committed SELECT, every POLL_SECONDS, with the
URLs of the settings. At SIGTERM it writes to FILE, as JSON, for each symbol the pairs (epoch microseconds at which the
answer was there, newest event time in it), one for each time that it was newer.
"""

from __future__ import annotations

import json
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psycopg
import redis

from include.settings import required, settings

POLL_SECONDS = 0.002
_NEWEST = """
SELECT (SELECT max(event_time) FROM market_events WHERE symbol = wanted.symbol AND event_time >= %s)
FROM unnest(%s::text[]) WITH ORDINALITY AS wanted (symbol, place) ORDER BY place
"""

Poll = Callable[[], list[int | None]]


def main(store: str, file: Path, symbols: list[str]) -> None:
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    poll = {"redis": _redis, "postgres": _postgres}[store](symbols)
    seen: list[list[tuple[int, int]]] = [[] for _ in symbols]
    newest = [0] * len(symbols)
    while not stop.is_set():
        found = poll()
        now = time.time_ns() // 1_000
        for place, event_time in enumerate(found):
            if event_time is not None and event_time > newest[place]:
                newest[place] = event_time
                seen[place].append((now, event_time))
        time.sleep(POLL_SECONDS)
    file.write_text(json.dumps(dict(zip(symbols, seen, strict=True))))


def _redis(symbols: list[str]) -> Poll:
    client = redis.Redis.from_url(required(settings().redis_url, "REDIS_URL"))
    keys = [f"price:{symbol}" for symbol in symbols]
    held: list[bytes | None] = [None] * len(keys)
    times: list[int | None] = [None] * len(keys)

    def poll() -> list[int | None]:
        for place, value in enumerate(client.mget(keys)):
            if value is not None and value != held[place]:
                held[place], times[place] = value, json.loads(value)["event_time"]
        return times

    return poll


def _postgres(symbols: list[str]) -> Poll:
    url = required(settings().reader_database_url, "READER_DATABASE_URL")
    connection = psycopg.connect(url.replace("postgresql+psycopg:", "postgresql:"), autocommit=True)
    row = connection.execute("SELECT now() - interval '1 hour'").fetchone()
    since = row[0] if row else None

    def poll() -> list[int | None]:
        rows = connection.execute(_NEWEST, (since, symbols), prepare=True).fetchall()
        return [None if time is None else round(time.timestamp() * 1e6) for (time,) in rows]

    return poll


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3:])
