"""What is pushed to the browsers: one reader of the stores for all of them, and for each only the newest.

A message is JSON: `{"type": "prices" | "status" | "chart", ...}`; assets/market_live.js applies it, whether it was
pushed or fetched. A browser that is slow misses what is superseded, never the newest.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import redis

from include.dashboard.charts.candlestick import figure_end
from include.dashboard.charts.colours import colours
from include.dashboard.formatting import change_of, price_text
from include.dashboard.market_view import MarketView
from include.dashboard.selection import Selection
from include.market.timeframe import TIMEFRAME_SECONDS
from include.storage.live_reads import LiveReads, LiveState
from include.storage.market_reads import DatabaseUnavailable, Price, price_of
from include.storage.price_feed import Feed

#: A change is told at once, together with those that come with it; the next ones not before the pause is over.
GATHER_SECONDS, PAUSE_SECONDS = 0.02, 0.18
STATUS_SECONDS = 2.0
FEED_PAUSE_SECONDS, FAULT_PAUSE_SECONDS = 1.0, 1.0
#: A chart is not read more often than this, however often its price changes.
CHART_SECONDS = 0.25
#: One whose time has not come is looked at again after this; one that no price has touched, after the longer.
_CHARTS_AGAIN_SECONDS, _CHARTS_LATE_SECONDS = 0.05, 1.0
#: Windows that are sent with every change, and those that are looked at again now and then: a late event or the
#: watermark may have changed them.
NEWEST_WINDOWS, RECENT_WINDOWS, RECENT_SECONDS = 2, 15, 20.0
MOST_CLIENTS = 200
_NO_COLOURS = colours(None)
_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
_log = logging.getLogger(__name__)


class Client:
    """A browser: what it watches, and the newest message of each type that it has not got yet."""

    def __init__(self, selection: Selection) -> None:
        self.selection = selection
        self._pending: dict[str, dict[str, Any]] = {}
        self._ready = asyncio.Event()

    def put(self, message: dict[str, Any]) -> None:
        held = self._pending.get(message["type"])
        if message["type"] == "prices" and held is not None:
            message = {**held, "prices": held["prices"] | message["prices"]}
        elif message["type"] == "chart" and held is not None and held["from"] < message["from"]:
            # The one that reaches further back takes in the other but for the newest, which comes again.
            return
        self._pending[message["type"]] = message
        self._ready.set()

    async def messages(self) -> list[dict[str, Any]]:
        """Waits until there is one."""
        await self._ready.wait()
        self._ready.clear()
        found, self._pending = list(self._pending.values()), {}
        return found


class LiveHub:
    """Runs while the server does. All reads wait in threads."""

    def __init__(
        self,
        view: MarketView,
        feed: Feed,
        reader: LiveReads,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._view = view
        self._feed = feed
        self._reader = reader
        self._clock = clock
        self._clients: set[Client] = set()
        self._changed: dict[str, Price] = {}
        self._told: dict[str, Price] = {}
        self._stirred = asyncio.Event()
        self._state: LiveState | None = None
        self._looked_at = _LONG_AGO
        self._is_fed = False
        self._charts_due: set[str] = set()
        self._drawable = asyncio.Event()
        self._charts_read: dict[Selection, tuple[datetime, datetime]] = {}

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """The loops, for as long as the server lives."""
        rounds = (self._follow, self._flush, self._draw, self._watch)
        loops = [asyncio.create_task(_again_and_again(one)) for one in rounds]
        try:
            yield
        finally:
            for loop in loops:
                loop.cancel()
            for loop in loops:
                with suppress(asyncio.CancelledError):
                    await loop

    @property
    def is_full(self) -> bool:
        return len(self._clients) >= MOST_CLIENTS

    @asynccontextmanager
    async def client(self, selection: Selection) -> AsyncIterator[Client]:
        """A browser that is told of prices, status and its chart until it leaves."""
        client = Client(selection)
        self._clients.add(client)
        try:
            await self._look_if_due()
            client.put(await self.status())
            yield client
        finally:
            self._clients.discard(client)

    async def fetched(self, selection: Selection, since: datetime | None) -> list[dict[str, Any]]:
        """The same messages for a browser that has no socket: all prices, the status, and the chart since then."""
        await self._look_if_due()
        prices = {symbol: price_cells(price) for symbol, price in self._view.last_board.prices.items()}
        messages = [await self.status(), {"type": "prices", "prices": prices}]
        # What may still change comes again, however much of it the browser has.
        recent = self._windows_ago(selection, RECENT_WINDOWS)
        chart = await self._chart(selection, recent if since is None else min(since, recent))
        return messages if chart is None else [*messages, chart]

    async def status(self) -> dict[str, Any]:
        """Epoch milliseconds, and which of the stores answer."""
        state, board = self._state, self._view.last_board
        return {
            "type": "status",
            "now": _milliseconds(self._clock()),
            "newest": None if board.newest is None else _milliseconds(board.newest),
            "database": state is not None,
            "redis": self._is_fed,
            "stream": None if state is None or not state.is_stream_wanted else state.stream_age,
            "open": [] if state is None else state.open,
            "alerts": None if state is None else state.alerts,
        }

    async def _follow(self) -> None:
        """Until the feed breaks; not so soon again then."""
        try:
            async for change in self._feed.changes():
                self._is_fed = True
                if change is None:
                    continue
                price = price_of(change["symbol"], change)
                if price.symbol in self._view.symbols:
                    self._view.learn(price)
                    self._stir(price)
        except redis.RedisError as error:
            if self._is_fed:
                _log.warning("no price feed: %s", error)
        finally:
            self._is_fed = False
        await asyncio.sleep(FEED_PAUSE_SECONDS)

    def _stir(self, price: Price) -> None:
        self._changed[price.symbol] = price
        self._stirred.set()

    async def _flush(self) -> None:
        await self._stirred.wait()
        await asyncio.sleep(GATHER_SECONDS)
        self._stirred.clear()
        changed, self._changed = self._changed, {}
        self._told |= changed
        cells = {symbol: price_cells(price) for symbol, price in changed.items()}
        self._tell(self._clients, {"type": "prices", "prices": cells})
        self._charts_due |= changed.keys()
        self._drawable.set()
        await asyncio.sleep(PAUSE_SECONDS)

    async def _draw(self) -> None:
        """Beside the prices, which do not wait for a chart to be read."""
        with suppress(TimeoutError):
            pause = _CHARTS_AGAIN_SECONDS if self._charts_due else _CHARTS_LATE_SECONDS
            async with asyncio.timeout(pause):
                await self._drawable.wait()
        self._drawable.clear()
        await self._tell_charts()

    async def _tell_charts(self) -> None:
        now = self._clock()
        due, self._charts_due = self._charts_due, set()
        watched = {client.selection for client in self._clients}
        self._charts_read = {one: read for one, read in self._charts_read.items() if one in watched}
        for selection in watched:
            newest, recent = self._charts_read.get(selection, (_LONG_AGO, _LONG_AGO))
            is_late = (now - recent).total_seconds() > RECENT_SECONDS
            if selection.symbol not in due and not is_late:
                continue
            if not is_late and (now - newest).total_seconds() < CHART_SECONDS:
                self._charts_due.add(selection.symbol)
                continue
            self._charts_read[selection] = (now, now if is_late else recent)
            windows = RECENT_WINDOWS if is_late else NEWEST_WINDOWS
            message = await self._chart(selection, self._windows_ago(selection, windows))
            if message is not None:
                self._tell((each for each in self._clients if each.selection == selection), message)

    async def _watch(self) -> None:
        await asyncio.sleep(STATUS_SECONDS)
        if self._clients:
            await self._look()
            self._tell(self._clients, await self.status())

    async def _look_if_due(self) -> None:
        """So that a status is never older than its pace, for whoever asks."""
        if (self._clock() - self._looked_at).total_seconds() >= STATUS_SECONDS:
            await self._look()

    async def _look(self) -> None:
        board = await asyncio.to_thread(self._view.refreshed)
        for price in board.prices.values():
            # What nobody announced, or announced while nobody listened, is told all the same.
            told = self._told.get(price.symbol)
            if told is None or (price != told and price.as_of >= told.as_of):
                self._stir(price)
        try:
            self._state = await asyncio.to_thread(self._reader.state)
        except DatabaseUnavailable:
            self._state = None
        # Not before: who asks meanwhile would be told of an outage that nobody has seen.
        self._looked_at = self._clock()

    async def _chart(self, selection: Selection, since: datetime) -> dict[str, Any] | None:
        try:
            data = await asyncio.to_thread(self._view.chart_end, selection, since)
        except DatabaseUnavailable:
            return None
        # Points have no colours: these are for whom nothing is drawn.
        end = figure_end(data.candles, selection, _NO_COLOURS, data.marks)
        return end and {"type": "chart", "chart": selection.key, **end}

    def _windows_ago(self, selection: Selection, windows: int) -> datetime:
        width = TIMEFRAME_SECONDS[selection.timeframe]
        epoch = int(self._clock().timestamp())
        return datetime.fromtimestamp(epoch - epoch % width, UTC) - timedelta(seconds=(windows - 1) * width)

    @staticmethod
    def _tell(clients: Iterable[Client], message: dict[str, Any]) -> None:
        for client in list(clients):
            client.put(message)


async def _again_and_again(one_round: Callable[[], Awaitable[None]]) -> None:
    """A round that fails in a way that nobody foresaw is logged, and the next one begins: no loop ends for all."""
    while True:
        try:
            await one_round()
        except Exception:  # noqa: BLE001 - whatever it is, it must not silence the page for ever
            _log.exception("a round of the live push failed")
            await asyncio.sleep(FAULT_PAUSE_SECONDS)


def price_cells(price: Price) -> dict[str, Any]:
    """What a row of the watchlist shows."""
    change = change_of(price.change_pct)
    return {
        "price": price_text(price.price),
        "exact": format(price.price, "f"),
        "change": change.text,
        "direction": change.direction,
        "spoken": change.spoken,
        "source": price.source.replace("_", " "),
        "asOf": _milliseconds(price.as_of),
    }


def _milliseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)
