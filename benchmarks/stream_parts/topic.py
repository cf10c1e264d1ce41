"""Topics filled with trades, as our producers encode them."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from dataclasses import dataclass

from confluent_kafka import Producer

from benchmarks.stream_parts.stores import STOCKS
from include.errors import PublishError

SECOND = 1_000_000
#: Behind a block, so far apart, two trades of each symbol: time goes on, so whoever waits for that closes his windows.
TAIL_US = 10 * 60 * SECOND
TAILS = 2
#: The next block begins so long after: none of its trades is late.
APART_US = 10 * 60 * SECOND
#: Trades of one moment come in any order within this.
DISORDER_MS = 2_000
_FLUSH_SECONDS = 120
_TEXT = (
    '{"event_id":"binance:%s:trade:%d","symbol":"%s","asset_class":"stock","source":"binance","kind":"trade",'
    '"event_time":%d,"interval_seconds":0,"open":"%s","high":"%s","low":"%s","close":"%s","volume":"%s",'
    '"currency":"USD","ingested_at":%d,"schema_version":1}'
)


@dataclass(frozen=True, slots=True)
class Block:
    """`count` trades of `symbols` symbols from `start_us` on, `per_second` of event time, and `tails` behind them."""

    count: int
    symbols: int
    per_second: int
    start_us: int
    first_id: int = 0
    tails: int = TAILS

    @property
    def end_us(self) -> int:
        return self.start_us + self.count * SECOND // self.per_second

    @property
    def records(self) -> int:
        return self.count + self.tails * self.symbols

    @property
    def length_us(self) -> int:
        """To where the next block may begin."""
        return self.end_us + self.tails * TAIL_US + APART_US - self.start_us


def blocks(
    counts: list[int], symbols: int, per_second: int, *, tails: int = TAILS, end_us: int | None = None
) -> list[Block]:
    """Blocks one after the other, the last of which ends now: no trade lies in the future."""
    shapes = [Block(count, symbols, per_second, 0, tails=tails) for count in counts]
    start = (end_us or time.time_ns() // 1_000) - sum(shape.length_us for shape in shapes)
    found, first_id = [], 4_000_000_000
    for shape in shapes:
        found.append(Block(shape.count, symbols, per_second, start, first_id, tails))
        start += shape.length_us
        first_id += shape.records
    return found


def symbol_names(count: int) -> list[str]:
    return [f"SYM{number:05d}" for number in range(count)]


def trades(block: Block) -> Iterator[tuple[str, str]]:
    """(key, value) of each record; the same for the same block."""
    dice = random.Random(block.first_id)
    names = symbol_names(block.symbols)
    for number in range(block.count):
        at = block.start_us + number * SECOND // block.per_second - int(dice.random() * DISORDER_MS) * 1_000
        yield _trade(names[int(dice.random() * block.symbols)], block.first_id + number, at, dice)
    number = block.first_id + block.count
    for tail in range(1, block.tails + 1):
        for name in names:
            yield _trade(name, number, block.end_us + tail * TAIL_US, dice)
            number += 1


def trade(symbol: str, number: int, at_us: int, price: str, volume: str) -> str:
    """The value of one record; `at_us` is event time and ingestion in one."""
    return _TEXT % (symbol, number, symbol, at_us, price, price, price, price, volume, at_us)


def producer(servers: str, **more: object) -> Producer:
    settings = {"linger.ms": 20, "compression.type": "lz4", "queue.buffering.max.messages": 1_000_000}
    return Producer({"bootstrap.servers": servers, **settings, **more})


def fill(servers: str, block: Block, topic: str = STOCKS) -> None:
    """Send a block. Raises PublishError where the broker does not take all."""
    sender = producer(servers)
    for number, (key, value) in enumerate(trades(block)):
        sender.produce(topic, value, key=key)
        if number % 1_000 == 0:
            sender.poll(0)
            while len(sender) > 500_000:
                sender.poll(0.1)
    if sender.flush(_FLUSH_SECONDS):
        raise PublishError("the benchmark's broker did not take all events")


def _trade(symbol: str, number: int, at_us: int, dice: random.Random) -> tuple[str, str]:
    price = f"{90 + int(dice.random() * 2_000) / 100:.2f}"
    volume = f"{(1 + int(dice.random() * 99_998)) / 1_000:.3f}"
    return symbol, trade(symbol, number, at_us, price, volume)
