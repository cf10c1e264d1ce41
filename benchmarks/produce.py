"""One run of our own producer, in a process of its own: `python -m benchmarks.produce SERVERS WAY COUNT FOLDER`.

Prints the seconds that encoding, producing and their confirmation took.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

from include.errors import PublishError
from include.market.event import MICROSECONDS, MarketEvent, bar
from include.producers.publisher import KafkaPublisher, publish_valid
from include.producers.spool import MemorySpool, Spool

#: Events of one confirmation.
BATCH = 10_000
#: Events that differ; encoding does not remember them.
DISTINCT = 20_000
START_US = 1_700_000_040 * MICROSECONDS
#: `spool`: as the pipeline does it; `memory`: without the disk; `validate`: with the rules of the contract too.
WAYS = ("spool", "memory", "validate")


def events(count: int = DISTINCT) -> list[MarketEvent]:
    """Minute bars of three crypto pairs, with figures as Binance writes them."""
    made = []
    for number in range(count):
        middle = Decimal(6_412_312 + number % 9_973).scaleb(-2)
        spread = Decimal(number % 211 + 1).scaleb(-2)
        made.append(
            bar(
                symbol=("BTC-USD", "ETH-USD", "SOL-USD")[number % 3],
                asset_class="crypto",
                source="binance",
                start=START_US + number // 3 * 60 * MICROSECONDS,
                interval_seconds=60,
                prices=(middle, middle + spread, middle - spread, middle + spread / 2),
                volume=Decimal(1_234_567 + number * 7).scaleb(-5),
                currency="USDT",
                ingested_at=START_US + number,
            )
        )
    return made


def _batches(made: list[MarketEvent], count: int) -> Iterator[list[MarketEvent]]:
    while count > 0:
        for start in range(0, len(made), BATCH):
            yield made[start : start + min(BATCH, count)]
            count -= BATCH
            if count <= 0:
                return


def main(servers: str, way: str, count: int, folder: Path) -> float:
    made = events()
    now_us = START_US * 2
    spool = MemorySpool() if way == "memory" else Spool(folder / "bench.sqlite", 1_000)
    publisher = KafkaPublisher(servers, spool, flush_seconds=60)
    publisher.publish(made[0])
    publisher.confirm()
    delivered = 0
    began = time.perf_counter()
    for batch in _batches(made, count):
        for event in batch:
            if way == "validate":
                publish_valid(publisher, event, now_us)
            else:
                publisher.publish(event)
        delivered += publisher.confirm().delivered
    seconds = time.perf_counter() - began
    publisher.close()
    if delivered != count:
        raise PublishError(f"{delivered} of {count} events were delivered")
    return seconds


if __name__ == "__main__":
    print(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), Path(sys.argv[4])))
