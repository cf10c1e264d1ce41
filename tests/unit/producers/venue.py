"""A trading venue for tests: a real websocket server that can misbehave, and a REST side with the same trades."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from tenacity import Retrying, stop_after_attempt
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from include.errors import LeaseLost, Transient
from include.market.coverage import MINUTE_US, Coverage
from include.market.event import MICROSECONDS
from include.market.instrument import Instrument
from include.producers.publisher import ListPublisher
from include.producers.trade_parts import StreamParts, StreamRules
from include.producers.trade_stream import TradeStream
from include.sources.base import Answer, FetchResult
from include.sources.binance import BinanceSource
from include.sources.client import SourceClient
from include.sources.gate import OpenGate

#: The venue's clock runs so much faster than the test's: a minute takes a second.
SPEED = 60
START_US = 28_000_000 * MINUTE_US + 50 * MICROSECONDS
BITCOIN = Instrument("BTC-USD", "crypto", "Bitcoin", {"binance": "BTCUSDT"})
QUICK = StreamRules(
    silence_seconds=0.4,
    poll_seconds=0.2,
    flush_seconds=0.02,
    heartbeat_seconds=0.05,
    pause_seconds=0.1,
    tick_seconds=0.02,
    fallback_seconds=0.2,
    steady_seconds=0.2,
)


class Clock:
    """UTC epoch microseconds, fast."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._skipped_us = 0

    def skip(self, microseconds: int) -> None:
        """The time is later by so much."""
        self._skipped_us += microseconds

    def __call__(self) -> int:
        return START_US + self._skipped_us + int((time.monotonic() - self._began) * SPEED * MICROSECONDS)


@dataclass
class Venue:
    """Makes a trade every few milliseconds and sends each to all that are connected."""

    clock: Clock
    trades: list[dict[str, Any]] = field(default_factory=list)
    connections: list[ServerConnection] = field(default_factory=list)
    #: How many connections there were, and how many at once.
    accepted: int = 0
    at_once: int = 0
    #: Those that a frame was sent to, and how often one ended while no other had got any.
    served: set[ServerConnection] = field(default_factory=set)
    left_alone: int = 0
    is_trading: bool = True
    is_mute: bool = False
    #: REST answers.
    is_reachable: bool = True
    asked: list[Mapping[str, str]] = field(default_factory=list)
    port: int = 0

    def make(self, **changes: Any) -> None:
        number = len(self.trades) + 1
        price, quantity = f"{100 + number % 9}.5", f"0.{number % 7 + 1}"
        made = {"a": number, "p": price, "q": quantity, "f": number, "l": number, "T": self.clock() // 1_000}
        self.trades.append(made | {"m": False, "M": True} | changes)

    async def trade(self) -> None:
        while True:
            if self.is_trading:
                self.make()
                await self.send({"e": "aggTrade", "E": 1, "s": "BTCUSDT", **self.trades[-1]})
            await asyncio.sleep(0.01)

    async def send(self, message: dict[str, Any]) -> None:
        if self.is_mute:
            return
        for connection in list(self.connections):
            with suppress(ConnectionClosed):
                await connection.send(json.dumps({"stream": "btcusdt@aggTrade", "data": message}))
                self.served.add(connection)

    async def accept(self, connection: ServerConnection) -> None:
        self.accepted += 1
        self.connections.append(connection)
        self.at_once = max(self.at_once, len(self.connections))
        try:
            await connection.wait_closed()
        finally:
            self.connections.remove(connection)
            self.left_alone += self.served.isdisjoint(self.connections)

    def get(self, url: str, params: Mapping[str, str], headers: Mapping[str, str]) -> Answer:
        """REST, as include.sources.client.Transport."""
        self.asked.append(params)
        if not self.is_reachable:
            raise Transient("no answer")
        first = int(params["fromId"]) - 1 if "fromId" in params else len(self.trades) - 1
        rows = self.trades[max(0, first) : max(0, first) + int(params["limit"])]
        return Answer(200, {}, json.dumps(rows).encode())

    def close(self) -> None:
        """Nothing to close."""


@dataclass
class Store:
    """Coverage in memory."""

    rows: dict[int, Coverage] = field(default_factory=dict)

    def newest(self) -> dict[str, Coverage]:
        held = sorted(self.rows.values(), key=lambda row: row.covered_from)
        return {row.symbol: row for row in held}

    def save(self, coverages: Any) -> None:
        self.rows |= {row.covered_from: row for row in coverages}


@dataclass
class HeldLease:
    is_ours: bool = True
    beats: list[dict[str, Any]] = field(default_factory=list)

    def heartbeat(self, details: dict[str, Any]) -> bool:
        self.beats.append(details)
        return self.is_ours


@dataclass
class Prices:
    """Another source of prices that only counts."""

    polls: int = 0
    restorations: int = 0
    is_serving: bool = False

    def poll(self, now_us: int, reason: str) -> FetchResult:
        self.polls += 1
        return FetchResult()

    def restored(self, now_us: int) -> None:
        self.restorations += 1


@dataclass
class Running:
    """A stream at work and all that it works with."""

    venue: Venue
    rules: StreamRules
    monotonic: Callable[[], float] = time.monotonic
    publisher: ListPublisher = field(default_factory=ListPublisher)
    store: Store = field(default_factory=Store)
    lease: HeldLease = field(default_factory=HeldLease)
    prices: Prices = field(default_factory=Prices)

    def start(self) -> None:
        """A stream on what earlier ones have left."""
        once = Retrying(stop=stop_after_attempt(1), reraise=True)
        client = SourceClient(BinanceSource(), "http://venue", self.venue, OpenGate(), once, self.venue.clock)
        parts = StreamParts(
            client,
            self.publisher,
            self.store,
            self.lease,
            self.prices,
            self.venue.clock,
            monotonic=self.monotonic,
        )
        self.stream = TradeStream([BITCOIN], f"ws://127.0.0.1:{self.venue.port}", parts, self.rules)
        # The venue's limit on connections is no matter here.
        self.stream.socket._spacing_seconds = 0.05
        self.stop = asyncio.Event()
        self.task = asyncio.create_task(self.stream.run(self.stop))

    async def kill(self) -> None:
        """No last write."""
        self.task.cancel()
        with suppress(asyncio.CancelledError, LeaseLost):
            await self.task

    @property
    def ids(self) -> list[int]:
        return [int(event.event_id.rpartition(":")[2]) for event in self.publisher.events]

    async def until(self, condition: Callable[[], object], what: str, seconds: float = 8.0) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            if self.task.done() and not self.task.cancelled():
                self.task.result()
            assert time.monotonic() < deadline, f"{what}: not within {seconds:.0f} s"
            await asyncio.sleep(0.01)

    async def finish(self) -> None:
        self.stop.set()
        await self.task

    def check(self) -> None:
        """What was published is in order, each id once, and whole in every covered minute."""
        assert self.ids == sorted(set(self.ids))
        covered = [
            trade["a"]
            for trade in self.venue.trades
            for row in self.store.rows.values()
            if row.covered_from <= trade["T"] * 1_000 < row.covered_through
        ]
        assert set(covered) <= set(self.ids)


@asynccontextmanager
async def running(rules: StreamRules, monotonic: Callable[[], float]) -> AsyncIterator[Running]:
    """A venue that trades, and a stream of its trades; stopped and checked in the end."""
    venue = Venue(Clock())
    server: Server = await serve(venue.accept, "127.0.0.1", 0)
    venue.port = server.sockets[0].getsockname()[1]
    trading = asyncio.create_task(venue.trade())
    work = Running(venue, rules, monotonic)
    try:
        work.start()
        await work.until(lambda: work.ids, "the first trade")
        yield work
        if not work.task.done():
            await work.finish()
        work.check()
    finally:
        await work.kill()
        trading.cancel()
        server.close()
        await server.wait_closed()
