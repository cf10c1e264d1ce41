"""Sends trades by an open-loop schedule: `python -m benchmarks.stream_parts.generator SERVERS RATE COUNT ID SYMBOL…`.

ID is the number of the first event id. Prints one line of JSON at the start (the schedule) and one at the end (how
late the events were handed to the client, in milliseconds, which is part of what a reader measures).
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence

from benchmarks.stream_parts.schedule import Schedule
from benchmarks.stream_parts.stores import STOCKS
from benchmarks.stream_parts.topic import producer, trade
from include.errors import PublishError

#: Between the announcement and the first event.
_AHEAD_US = 500_000
_REST_SECONDS = 0.001
_FLUSH_SECONDS = 60
PRICES = 977


def price(event: int) -> float:
    """Of an event by its number: it comes again after PRICES events only."""
    return 100 + event % PRICES / 100


def main(servers: str, rate: int, count: int, first_id: int, names: Sequence[str]) -> None:
    sender = producer(servers, **{"linger.ms": 5})
    sender.list_topics(STOCKS, timeout=10)
    schedule = Schedule(time.time_ns() // 1_000 + _AHEAD_US, rate, count, len(names))
    print(json.dumps({"start_us": schedule.start_us}), flush=True)
    latest_us, number = 0, 0
    late = [0] * 2
    while number < count:
        now = time.time_ns() // 1_000
        due = min(count, (now - schedule.start_us) * rate // 1_000_000 + 1) if now >= schedule.start_us else 0
        if number < due:
            latest_us = max(latest_us, now - schedule.due_us(number))
            late[now - schedule.due_us(number) > 100_000] += due - number
        for event in range(number, due):
            symbol = names[event % len(names)]
            value = trade(symbol, first_id + event, schedule.due_us(event), f"{price(event):.2f}", "1.250")
            sender.produce(STOCKS, value, key=symbol)
            if event % 500 == 0:
                sender.poll(0)
        number = max(number, due)
        sender.poll(0)
        time.sleep(_REST_SECONDS)
    if sender.flush(_FLUSH_SECONDS):
        raise PublishError("the broker did not take all events")
    print(json.dumps({"sent": number, "latest_ms": latest_us / 1_000, "over_100_ms": late[1]}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], *(int(argument) for argument in sys.argv[2:5]), sys.argv[5:])
