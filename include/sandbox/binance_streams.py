"""Binance's websocket: trades, klines and mini tickers as their time comes.

The server pings every 20 seconds and ends a connection without a pong within 60 (`server`); here are the
streams, what a client may ask of its connection, its 5 messages a second, and its 24 hours.
"""

from __future__ import annotations

import asyncio
import re
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import msgspec

from include.sandbox.bars import MinuteBar, milliseconds
from include.sandbox.binance_answers import kline, text, ticker_24hr
from include.sandbox.binance_trades import aggregate_row
from include.sandbox.dialect import Stream, StreamHandler, first_of
from include.sandbox.market import Listing, Sandbox
from include.sandbox.tape import TapeTrade, between, id_range

POLL_SECONDS = 0.05
MESSAGES_PER_SECOND = 5
MOST_STREAMS = 1024
LIFETIME_SECONDS = 86_400
KLINE_MS, TICKER_MS = 2_000, 1_000
KLINE_SECONDS = {"1m": 60, "3m": 180, "5m": 300, "15m": 900, "1h": 3600}
MINI_TICKER = {
    "c": "lastPrice", "o": "openPrice", "h": "highPrice", "l": "lowPrice", "v": "volume", "q": "quoteVolume",
}  # fmt: skip
POLICY_VIOLATION, GOING_AWAY = 1008, 1001


class News(NamedTuple):
    """One event of a stream, of the kind that `Stream.tell` knows it by."""

    kind: str
    event: dict[str, Any]


#: The news in (after_ms, upto_ms], oldest first.
Feed = Callable[[int, int], Iterator[News]]


def binance_streams(sandbox: Sandbox, listings: Mapping[str, Listing]) -> dict[str, StreamHandler]:
    """The websocket routes; the path before them is the base address."""

    async def raw(stream: Stream) -> None:
        names = [name for name in stream.path_params.get("streams", "").split("/") if name]
        await _Connection(sandbox, listings, stream, names, wrapped=False).talk()

    async def combined(stream: Stream) -> None:
        names = [name for name in stream.query_params.get("streams", "").split("/") if name]
        await _Connection(sandbox, listings, stream, names, wrapped=True).talk()

    return {"/stream/ws": raw, "/stream/ws/{streams:path}": raw, "/stream/stream": combined}


class _Connection:
    """One client: which streams it has, and up to when it was told of each."""

    def __init__(
        self, sandbox: Sandbox, listings: Mapping[str, Listing], stream: Stream, names: list[str], *, wrapped: bool
    ) -> None:
        self._sandbox = sandbox
        self._listings = listings
        self._stream = stream
        self._wrapped = wrapped
        self._opened = sandbox.clock()
        self._told: dict[str, int] = {}
        self._subscribe(names)

    async def talk(self) -> None:
        await first_of(self._listen(), self._tell())

    def _subscribe(self, names: list[str]) -> None:
        now = milliseconds(self._sandbox.clock())
        self._told.update({name: now for name in names if name not in self._told})

    async def _tell(self) -> None:
        """A name that the exchange does not know, and one in capitals, is a stream without news."""
        while self._sandbox.clock() < self._opened + LIFETIME_SECONDS:
            now = milliseconds(self._sandbox.clock())
            for name, told in list(self._told.items()):
                self._told[name] = now
                found = _feed(self._sandbox, self._listings, name)
                if found is None or now <= told:
                    continue
                symbol, feed = found
                for kind, event in feed(told, now):
                    document = {"stream": name, "data": event} if self._wrapped else event
                    await self._stream.tell(symbol, kind, msgspec.json.encode(document).decode())
            await asyncio.sleep(POLL_SECONDS)
        await self._stream.close(GOING_AWAY)

    async def _listen(self) -> None:
        recent: deque[float] = deque(maxlen=MESSAGES_PER_SECOND)
        while True:
            message = await self._stream.receive()
            now = asyncio.get_running_loop().time()
            if len(recent) == MESSAGES_PER_SECOND and now - recent[0] < 1:
                await self._stream.close(POLICY_VIOLATION, "Too many requests")
                return
            recent.append(now)
            await self._stream.answer(msgspec.json.encode(self._answer(message)).decode())

    def _answer(self, message: str) -> dict[str, Any]:
        try:
            asked = msgspec.json.decode(message, type=_Asked)
        except msgspec.DecodeError as error:
            return {"error": {"code": 3, "msg": f"Invalid JSON: {error}"}}
        if asked.method == "SUBSCRIBE" and len(self._told) + len(asked.params) <= MOST_STREAMS:
            self._subscribe(asked.params)
        elif asked.method == "UNSUBSCRIBE":
            for name in asked.params:
                self._told.pop(name, None)
        elif asked.method == "LIST_SUBSCRIPTIONS":
            return {"result": list(self._told), "id": asked.id}
        else:
            return {"error": {"code": 2, "msg": "Invalid request: unknown variant or too many streams"}, "id": asked.id}
        return {"result": None, "id": asked.id}


class _Asked(msgspec.Struct):
    method: str
    params: list[str] = []
    id: int | str | None = None


def _feed(sandbox: Sandbox, listings: Mapping[str, Listing], name: str) -> tuple[str, Feed] | None:
    """(canonical symbol, its news) of a stream's name."""
    parts = re.fullmatch(r"([a-z0-9]+)@(trade|aggTrade|miniTicker|kline_(\w+))", name)
    listing = listings.get(parts[1].upper()) if parts else None
    if parts is None or listing is None:
        return None
    if parts[2] == "trade":
        return listing.symbol, _trades(sandbox, listing, _trade)
    if parts[2] == "aggTrade":
        return listing.symbol, _trades(sandbox, listing, _aggregate)
    if parts[2] == "miniTicker":
        return listing.symbol, _mini_tickers(sandbox, listing)
    if parts[3] in KLINE_SECONDS:
        return listing.symbol, _klines(sandbox, listing, parts[3])
    return None


def _trades(sandbox: Sandbox, listing: Listing, event: Callable[[Listing, TapeTrade], dict[str, Any]]) -> Feed:
    def feed(after_ms: int, upto_ms: int) -> Iterator[News]:
        for trade in between(sandbox, listing.symbol, after_ms, upto_ms):
            yield News("trade", event(listing, trade))

    return feed


def _trade(listing: Listing, trade: TapeTrade) -> dict[str, Any]:
    return {
        "e": "trade",
        "E": trade.time_ms,
        "s": listing.id,
        "t": trade.id,
        "p": text(trade.price),
        "q": text(trade.quantity),
        "T": trade.time_ms,
        "m": trade.buyer_is_maker,
        "M": True,
    }


def _aggregate(listing: Listing, trade: TapeTrade) -> dict[str, Any]:
    return {"e": "aggTrade", "E": trade.time_ms, "s": listing.id, **aggregate_row(trade)}


def _mini_tickers(sandbox: Sandbox, listing: Listing) -> Feed:
    def feed(after_ms: int, upto_ms: int) -> Iterator[News]:
        if after_ms // TICKER_MS == upto_ms // TICKER_MS:
            return
        day = ticker_24hr(sandbox, listing, upto_ms / 1000)
        figures = {short: day[long] for short, long in MINI_TICKER.items()}
        yield News("ticker", {"e": "24hrMiniTicker", "E": upto_ms, "s": listing.id, **figures})

    return feed


def _klines(sandbox: Sandbox, listing: Listing, interval: str) -> Feed:
    """The closing frame of each candle that ended, and the running one every two seconds."""
    seconds = KLINE_SECONDS[interval]

    def feed(after_ms: int, upto_ms: int) -> Iterator[News]:
        now, width = upto_ms / 1000, seconds * 1000
        for end_ms in range(after_ms // width * width + width, upto_ms + 1, width):
            yield from candle(end_ms // 1000 - seconds, now, closed=True)
        if after_ms // KLINE_MS != upto_ms // KLINE_MS:
            yield from candle(upto_ms // width * seconds, now, closed=False)

    def candle(start: int, now: float, *, closed: bool) -> Iterator[News]:
        bars = sandbox.traded(listing.symbol, start, start + seconds, now).resampled(seconds)
        ids = id_range(sandbox, listing.symbol, start, start + seconds, now)
        for bar in bars:
            figures = _k(listing, interval, bar, ids, closed)
            event = {"e": "kline", "E": milliseconds(now), "s": listing.id, "k": figures}
            yield News("kline-closed" if closed else "kline", event)

    return feed


def _k(listing: Listing, interval: str, bar: MinuteBar, ids: tuple[int, int], closed: bool) -> dict[str, Any]:
    first, count = ids
    row = kline(bar, KLINE_SECONDS[interval], count)
    names = ("t", "o", "h", "l", "c", "v", "T", "q", "n", "V", "Q", "B")
    known = dict(zip(names, row, strict=True))
    return {**known, "s": listing.id, "i": interval, "f": first, "L": first + count - 1, "x": closed}
