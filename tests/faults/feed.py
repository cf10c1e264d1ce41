"""What a seeded market says in two hours: the same records, in the same order, in every run."""

from __future__ import annotations

import json
import random
import time
from dataclasses import dataclass
from decimal import Decimal

from include.market.event import MICROSECONDS, AssetClass, MarketEvent, bar, encode, quote, trade
from include.market.topics import EVENTS

MINUTE = 60 * MICROSECONDS
MINUTES = 90
STOCKS, COINS = ("AAPL", "IBM", "MSFT", "SPY"), ("BTC-USD", "ETH-USD")
#: Each record arrives so much after its time at most: inside the watermark, so that no run has late ones.
DISORDER_US = 240 * MICROSECONDS
POISON = (b"not json", b'{"half":', b"\xff\xfe", b"[]", b"")


@dataclass(frozen=True, slots=True)
class Record:
    topic: str
    key: str
    value: bytes


def records(seed: int) -> list[Record]:
    """Bars, trades, quotes, jumps that are anomalies, repeats, records of the future and records that are none."""
    dice = random.Random(seed)
    begin = (time.time_ns() // 1_000 - 6 * 3_600 * MICROSECONDS) // (5 * MINUTE) * (5 * MINUTE)
    arrivals: list[tuple[int, Record]] = []
    for symbol in (*STOCKS, *COINS):
        asset_class: AssetClass = "stock" if symbol in STOCKS else "crypto"
        for event in _events(dice, symbol, asset_class, begin):
            record = Record(EVENTS[asset_class], symbol, encode(event))
            arrivals.append((event.event_time + dice.randrange(DISORDER_US), record))
    for at, record in dice.sample(arrivals, len(arrivals) // 12):
        arrivals.append((at + dice.randrange(60 * MICROSECONDS), record))
    for number in range(40):
        at = begin + dice.randrange(MINUTES * MINUTE)
        body = dice.choice((*POISON, _of_the_future(arrivals[0][1].value, number)))
        arrivals.append((at, Record(EVENTS[dice.choice(("stock", "crypto"))], "AAPL", body)))
    return [record for _, record in sorted(arrivals, key=lambda pair: pair[0])]


def _events(dice: random.Random, symbol: str, asset_class: AssetClass, begin: int) -> list[MarketEvent]:
    source = "yahoo" if asset_class == "stock" else "binance"
    price, found = Decimal(dice.randrange(50, 500)), []
    trades = iter(range(10_000))
    for number in range(MINUTES):
        start = begin + number * MINUTE
        if dice.random() < 0.03:
            continue  # a gap
        price *= Decimal(1) + Decimal(dice.choice((-1, 1)) * dice.randrange(20)) / 10_000
        if dice.random() < 0.03:
            price *= Decimal("1.04")
        price = round(price, 8)
        common = {"symbol": symbol, "asset_class": asset_class, "source": source, "currency": "USD"}
        if number % 3:
            volume = Decimal(dice.randrange(1, 90_000)) / 100
            prices = (price, price + 1, price - 1, price)
            found.append(
                bar(**common, start=start, interval_seconds=60, prices=prices, volume=volume, ingested_at=start)
            )
        else:
            for _ in range(12):
                at = start + dice.randrange(60) * MICROSECONDS
                moved = price + Decimal(dice.randrange(-50, 50)) / 100
                found.append(
                    trade(
                        **common, trade_id=next(trades), time=at, price=moved, volume=Decimal("0.125"), ingested_at=at
                    )
                )
        at = start + dice.randrange(60) * MICROSECONDS
        found.append(quote(**common, time=at, price=price, ingested_at=at))
    return found


def _of_the_future(value: bytes, number: int) -> bytes:
    year_2100 = 4_102_444_800 * MICROSECONDS
    return json.dumps(json.loads(value) | {"event_id": f"future:{number}", "event_time": year_2100}).encode()
