"""Made-up streams: what arrives at a query's topic, in order, with everything that a market does to it."""

from __future__ import annotations

import random
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import msgspec
import pyarrow as pa
from hypothesis import strategies as st

from include.market.event import MAX_AHEAD_US, MICROSECONDS, AssetClass, MarketEvent, Source, encode

SECOND = MICROSECONDS
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
#: Twenty to ten in the evening: a stream of some hours crosses midnight, where partitions and days change.
BASE = int(datetime(2026, 3, 2, 21, 40, tzinfo=UTC).timestamp()) * SECOND
DELAY_US = 600 * SECOND
PARTITIONS = 2
RECORDS = pa.schema(
    [
        ("value", pa.binary()),
        ("topic", pa.string()),
        ("partition", pa.int32()),
        ("offset", pa.int64()),
        ("timestamp", pa.timestamp("us", "UTC")),
    ]
)
_LARGEST_PRICE, _LARGEST_VOLUME = 10**18 - 1, 10**28 - 1
_SOURCES: tuple[Source, ...] = ("yahoo", "alpha_vantage", "binance")


@dataclass(frozen=True, slots=True)
class Delivery:
    """One record of a topic. `at`: when the broker had it (microseconds); `is_future`: too far ahead to be taken."""

    event: MarketEvent
    at: int
    is_future: bool = False
    partition: int = 0
    offset: int = 0

    @property
    def row(self) -> dict[str, Any]:
        """The event with its coordinates, as the reference takes it."""
        fields = msgspec.structs.asdict(self.event)
        return fields | {"kafka_partition": self.partition, "kafka_offset": self.offset, "revision": 0}


@dataclass(frozen=True)
class Shape:
    """A market's habits and a seed for its chance: small enough to print, and to shrink."""

    seed: int
    symbols: int
    minutes: int
    gaps: float
    switches: float
    second_source: float
    repeats: float
    late: float
    future: float
    jumps: float
    longest_delay: int
    asset_class: AssetClass = "stock"

    def deliveries(self) -> list[Delivery]:
        """In order of arrival, offsets given."""
        dice = random.Random(self.seed)
        arrivals = [
            delivery
            for number in range(self.symbols)
            for delivery in _Symbol(self, f"S{number}-{self.asset_class}", dice).deliveries()
        ]
        arrivals += [_again(dice, sent) for sent in arrivals if dice.random() < self.repeats]
        arrivals += [_ahead(dice, sent) for sent in arrivals if dice.random() < self.future]
        return with_offsets(arrivals)


def shapes(asset_class: AssetClass = "stock") -> st.SearchStrategy[Shape]:
    return st.builds(
        Shape,
        seed=st.integers(0, 2**32),
        symbols=st.integers(1, 4),
        minutes=st.sampled_from([1, 25, 90, 140]),
        gaps=st.sampled_from([0.0, 0.02, 0.2]),
        switches=st.sampled_from([0.0, 0.02, 0.2]),
        second_source=st.sampled_from([0.0, 0.05, 0.5]),
        repeats=st.sampled_from([0.0, 0.03, 0.3]),
        late=st.sampled_from([0.0, 0.01, 0.1]),
        future=st.sampled_from([0.0, 0.02]),
        jumps=st.sampled_from([0.0, 0.03]),
        longest_delay=st.sampled_from([0, 30, 590]),
        asset_class=st.just(asset_class),
    )


class _Symbol:
    """One symbol's facts, minute by minute; each symbol has kinds, prices and volumes of its own."""

    def __init__(self, shape: Shape, name: str, dice: random.Random) -> None:
        self.shape = shape
        self.dice = dice
        self.name = name
        self.kinds = dice.choice([("bar",), ("trade",), ("quote",), ("bar", "quote"), ("bar", "trade", "quote")])
        self.price = dice.choice([7, 12_345, 101 * 10**8, 64_000 * 10**8, 9 * 10**17])
        self.volume = dice.choice([10**6, 10**10, 3 * 10**18, 6 * 10**27])
        self.silent = dice.choice([0.0, 0.2, 1.0])
        self.source = dice.choice(_SOURCES)
        self.number = 0

    def deliveries(self) -> Iterator[Delivery]:
        minute = 0
        for _ in range(self.shape.minutes):
            if self.dice.random() < self.shape.gaps:
                # Just short of a return's reach, just beyond it, or overnight.
                minute += self.dice.choice([3, 4, 5, 6, 30, 16 * 60])
            if self.dice.random() < self.shape.switches:
                self.source = self.dice.choice(_SOURCES)
            for event in self._facts(BASE + minute * MINUTE):
                yield Delivery(event, event.event_time + event.interval_seconds * SECOND + self._delay())
            minute += 1

    def _facts(self, start: int) -> Iterator[MarketEvent]:
        if self.dice.random() < self.shape.jumps:
            self.price = min(self.price * self.dice.choice([9, 11]) // 10 + 1, _LARGEST_PRICE)
        if "bar" in self.kinds:
            yield from self._bars(start)
        for kind in ("trade", "quote"):
            for _ in range(self.dice.randrange(4) if kind in self.kinds else 0):
                # Quarters of a minute and its very end: ties within a kind and between kinds.
                at = start + self.dice.choice([0, 15 * SECOND, 15 * SECOND, 45 * SECOND, MINUTE - 1])
                yield self._event(kind, at, 0, (self._next_price(),) * 4)

    def _bars(self, start: int) -> Iterator[MarketEvent]:
        lengths = [60]
        if start % (5 * MINUTE) == 0:
            lengths += [seconds for seconds in (300, 300, 3_600) if self.dice.random() < 0.2]
        for seconds in dict.fromkeys(lengths):
            yield self._event("bar", start, seconds, self._prices())
            if self.dice.random() < self.shape.second_source:
                usual, self.source = self.source, self.dice.choice(_SOURCES)
                yield self._event("bar", start, seconds, self._prices())
                self.source = usual

    def _event(self, kind: str, at: int, seconds: int, prices: tuple[int, int, int, int]) -> MarketEvent:
        self.number += 1
        fact = f"bar{seconds}:{at}" if kind == "bar" else f"{kind}:{self.number}"
        opening, high, low, close = (Decimal(price).scaleb(-8) for price in prices)
        return MarketEvent(
            event_id=f"{self.source}:{self.name}:{fact}", symbol=self.name, asset_class=self.shape.asset_class,
            source=self.source, kind=kind, event_time=at, interval_seconds=seconds, open=opening, high=high, low=low,
            close=close, volume=None if kind == "quote" else self._volume(), currency="USD", ingested_at=at,
        )  # type: ignore[arg-type]  # fmt: skip

    def _next_price(self) -> int:
        step = max(1, self.price // 2_000)
        self.price = min(max(1, self.price + self.dice.randint(-step, step)), _LARGEST_PRICE)
        return self.price

    def _prices(self) -> tuple[int, int, int, int]:
        walk = [self._next_price() for _ in range(4)]
        return walk[0], max(walk), min(walk), walk[-1]

    def _volume(self) -> Decimal | None:
        if self.dice.random() < self.silent:
            return self.dice.choice([None, Decimal(0)])
        return Decimal(min(self.dice.randint(1, 2 * self.volume), _LARGEST_VOLUME)).scaleb(-8)

    def _delay(self) -> int:
        delay = self.dice.randint(0, self.shape.longest_delay) * SECOND
        if self.dice.random() < self.shape.late:
            # Behind the watermark, and behind the hour in which partials are kept.
            delay += self.dice.choice([DELAY_US, 2 * HOUR])
        return delay


def _again(dice: random.Random, sent: Delivery) -> Delivery:
    """The same id once more: the same, with other figures, or with another time."""
    event, at = sent.event, sent.at + dice.randint(0, 900) * SECOND
    volume = None if event.volume is None else min(event.volume + 1, Decimal(_LARGEST_VOLUME).scaleb(-8))
    price = min(event.high * 2, Decimal(_LARGEST_PRICE).scaleb(-8))
    changes: dict[str, Any] = dice.choice(
        [
            {},
            {"volume": volume, "high": price, "close": price} if event.kind == "bar" else {"volume": volume},
            {"event_time": min(event.event_time + dice.choice([-7, -1, 1, 7]) * MINUTE, at)},
        ]
    )
    return replace(sent, event=msgspec.structs.replace(event, **changes), at=at)


def _ahead(dice: random.Random, sent: Delivery) -> Delivery:
    """Five seconds ahead of its record and still taken, a microsecond more, or years: the id may come again."""
    ahead = dice.choice([0, 1, 1, 300 * HOUR, 10_000 * HOUR])
    event = msgspec.structs.replace(sent.event, event_time=sent.at + MAX_AHEAD_US + ahead)
    if ahead == 0:
        event = msgspec.structs.replace(event, event_id=f"{event.event_id}:ahead", interval_seconds=0)
        event = _as_trade(event)
    return replace(sent, event=event, is_future=ahead > 0)


def _as_trade(event: MarketEvent) -> MarketEvent:
    return msgspec.structs.replace(event, kind="trade", open=event.close, high=event.close, low=event.close)


def with_offsets(arrivals: Sequence[Delivery], partitions: int = PARTITIONS) -> list[Delivery]:
    """In order of arrival; a symbol has one partition, and each partition its own count."""
    counts = [0] * partitions
    placed = []
    for delivery in sorted(arrivals, key=lambda delivery: delivery.at):
        partition = zlib.crc32(delivery.event.symbol.encode()) % partitions
        placed.append(replace(delivery, partition=partition, offset=counts[partition]))
        counts[partition] += 1
    return placed


def cut(rows: Sequence[Delivery], parts: int, dice: random.Random) -> list[Sequence[Delivery]]:
    """So many batches at the most, none of them empty."""
    if not rows:
        return []
    edges = sorted(dice.sample(range(1, len(rows)), min(parts, len(rows)) - 1))
    return [rows[first:last] for first, last in zip([0, *edges], [*edges, len(rows)], strict=True)]


def records(deliveries: Sequence[Delivery], topic: str) -> pa.Table:
    """As Spark reads them from Kafka (RECORDS)."""
    columns = {
        "value": [encode(delivery.event) for delivery in deliveries],
        "topic": [topic] * len(deliveries),
        "partition": [delivery.partition for delivery in deliveries],
        "offset": [delivery.offset for delivery in deliveries],
        "timestamp": [delivery.at for delivery in deliveries],
    }
    return pa.table(columns, schema=RECORDS)
