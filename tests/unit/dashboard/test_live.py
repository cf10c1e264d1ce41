"""The push: one reader for all browsers, only the newest for each, and an outage that is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
import redis
from fastapi import FastAPI
from fastapi.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from include.dashboard import live
from include.dashboard.live import Client, LiveHub
from include.dashboard.live_routes import alongside, create_live_router
from include.dashboard.market_view import MarketView
from include.dashboard.selection import Selection
from include.market.candle import Candle
from include.web.figures import figures
from tests.unit.dashboard.twins import (
    INSTRUMENTS,
    START,
    MemoryLive,
    MemoryMarks,
    MemoryPrices,
    MemoryReader,
    cached,
    candle,
)

AAPL = Selection("AAPL", "1m")
BROKEN: dict[str, Any] = {}
SAME_PAGE = {"origin": "http://testserver"}


class MemoryFeed:
    """`PriceFeed` over a queue; BROKEN breaks the connection."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.subscriptions = 0

    async def changes(self) -> AsyncIterator[dict[str, Any] | None]:
        self.subscriptions += 1
        yield None
        while True:
            change = await self.queue.get()
            if change == BROKEN:
                raise redis.ConnectionError("gone")
            yield change


class World:
    """A hub over twins, at a moment that can be moved."""

    def __init__(self, candles: list[Candle]) -> None:
        self.now = START + timedelta(minutes=len(candles))
        self.reader, self.prices, self.live, self.feed = (
            MemoryReader(candles),
            MemoryPrices(),
            MemoryLive(),
            MemoryFeed(),
        )
        self.prices.held = {"AAPL": cached("101.5"), "BTC-USD": cached("9", START)}
        self.view = MarketView(INSTRUMENTS, self.reader, self.prices, MemoryMarks(), figures, clock=lambda: self.now)
        self.hub = LiveHub(self.view, self.feed, self.live, clock=lambda: self.now)


async def until(client: Client, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """The first message that is wanted."""
    async with asyncio.timeout(5):
        while True:
            for message in await client.messages():
                if wanted(message):
                    return message


def test_a_change_reaches_every_browser_and_only_once_each() -> None:
    async def run() -> None:
        world = World([candle(0), candle(1)])
        async with world.hub.running(), world.hub.client(AAPL) as one, world.hub.client(Selection("BTC-USD")) as other:
            world.feed.queue.put_nowait({"symbol": "AAPL", **cached("102.25", world.now)})
            for client in (one, other):
                told = await until(client, lambda message: message["type"] == "prices" and "AAPL" in message["prices"])
                assert told["prices"]["AAPL"]["price"] == "102.25"
            chart = await until(one, lambda message: message["type"] == "chart")
            assert (chart["chart"], chart["last"]["text"]) == (AAPL.key, "101.50")
        assert world.feed.subscriptions == 1

    asyncio.run(run())


def test_a_slow_browser_misses_what_is_superseded_and_not_the_newest() -> None:
    client = Client(AAPL)
    for price in ("1", "2"):
        client.put({"type": "prices", "prices": {"AAPL": {"price": price}}})
    client.put({"type": "prices", "prices": {"BTC-USD": {"price": "9"}}})
    client.put({"type": "chart", "from": "2026-03-02T14:00:00", "traces": "many"})
    client.put({"type": "chart", "from": "2026-03-02T14:30:00", "traces": "few"})
    prices, chart = asyncio.run(client.messages())
    assert prices["prices"] == {"AAPL": {"price": "2"}, "BTC-USD": {"price": "9"}}
    assert chart["traces"] == "many"


def test_an_unknown_symbol_is_told_to_nobody() -> None:
    async def run() -> None:
        world = World([candle(0)])
        async with world.hub.running(), world.hub.client(AAPL) as client:
            world.feed.queue.put_nowait({"symbol": "<script>alert(1)</script>", **cached("1", world.now)})
            world.feed.queue.put_nowait({"symbol": "BTC-USD", **cached("10", world.now)})
            told = await until(client, lambda message: "BTC-USD" in message.get("prices", {}))
            assert set(told["prices"]) <= set(world.view.symbols)

    asyncio.run(run())


def test_outages_are_told_and_what_was_known_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "STATUS_SECONDS", 0.05)

    async def run() -> None:
        world = World([candle(0)])
        async with world.hub.running(), world.hub.client(AAPL) as client:
            world.feed.queue.put_nowait({"symbol": "AAPL", **cached("102", world.now)})
            await until(client, lambda message: message["type"] == "status" and message["redis"])
            world.reader.up = world.live.up = world.prices.up = False
            world.feed.queue.put_nowait(BROKEN)
            down = await until(client, lambda message: message["type"] == "status" and not message["database"])
            assert down["newest"] == int(world.now.timestamp() * 1000)
            assert world.view.last_board.prices["AAPL"].price == 102
            world.reader.up = world.live.up = world.prices.up = True
            back = await until(client, lambda message: message["type"] == "status" and message["database"])
            assert back["stream"] == 1.0
            world.feed.queue.put_nowait({"symbol": "AAPL", **cached("103", world.now)})
            await until(client, lambda message: message["type"] == "status" and message["redis"])
        assert world.feed.subscriptions == 2

    asyncio.run(run())


def test_without_redis_changes_come_from_the_database(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "STATUS_SECONDS", 0.05)

    async def run() -> None:
        world = World([candle(0)])
        world.prices.up = False
        world.feed.queue.put_nowait(BROKEN)
        async with world.hub.running(), world.hub.client(AAPL) as client:
            await until(client, lambda message: message["type"] == "status" and not message["redis"])
            world.reader.held = [candle(0), candle(1, close="104")]
            world.now += timedelta(seconds=1)
            told = await until(client, lambda message: "AAPL" in message.get("prices", {}))
            assert told["prices"]["AAPL"]["price"] in ("101.50", "104.00")
            await until(client, lambda message: message["type"] == "chart" and message["last"]["text"] == "104.00")

    asyncio.run(run())


@contextmanager
def served(world: World) -> Iterator[TestClient]:
    server = FastAPI()
    server.include_router(create_live_router(world.hub, world.view.symbols))
    server.router.lifespan_context = alongside(server.router.lifespan_context, world.hub)
    with TestClient(server) as client:
        yield client


def test_a_fetch_brings_what_a_socket_would() -> None:
    world = World([candle(0), candle(1), candle(2)])
    with served(world) as client:
        messages = client.get("/live", params={"search": "?symbol=AAPL", "since": "2026-03-02T14:31:00"}).json()
    by_type = {message["type"]: message for message in messages}
    assert list(by_type) == ["status", "prices", "chart"]
    # What may still change comes again, whatever the browser has of it.
    assert by_type["chart"]["from"] == "2026-03-02T14:30:00"
    assert by_type["status"]["open"] == ["crypto"]
    assert by_type["prices"]["prices"]["AAPL"]["asOf"] == int(START.timestamp() * 1000)


def test_a_fetch_reaches_as_far_back_as_it_is_asked_to() -> None:
    world = World([candle(minute) for minute in range(30)])
    with served(world) as client:
        found = client.get("/live", params={"search": "?symbol=AAPL", "since": "2026-03-02T14:33:00"}).json()
    assert next(message["from"] for message in found if message["type"] == "chart") == "2026-03-02T14:33:00"


def test_who_only_fetches_hears_of_outages_too() -> None:
    world = World([candle(0)])

    def status(client: TestClient) -> dict[str, Any]:
        world.now += timedelta(seconds=live.STATUS_SECONDS)
        return next(each for each in client.get("/live").json() if each["type"] == "status")

    with served(world) as client:
        assert status(client)["database"] is True
        world.reader.up = world.live.up = world.prices.up = False
        assert status(client)["database"] is False
        world.reader.up = world.live.up = world.prices.up = True
        world.live.held = replace(world.live.held, open=["stock"])
        assert (status(client)["database"], status(client)["open"]) == (True, ["stock"])


def test_a_price_that_nobody_announced_is_told_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "STATUS_SECONDS", 0.05)

    async def run() -> None:
        world = World([candle(0)])
        async with world.hub.running(), world.hub.client(AAPL) as client:
            await until(client, lambda message: message["type"] == "status" and message["redis"])
            world.prices.held = {"AAPL": cached("107", world.now)}
            # As a page that is opened meanwhile does.
            world.view.board()
            told = await until(
                client,
                lambda message: message["type"] == "prices" and message["prices"]["AAPL"]["price"] == "107.00",
            )
            assert told["prices"]["AAPL"]["exact"] == "107"

    asyncio.run(run())


def test_a_round_that_fails_is_logged_and_the_next_one_begins(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(live, "FAULT_PAUSE_SECONDS", 0.01)

    async def run() -> None:
        world = World([candle(0)])
        async with world.hub.running(), world.hub.client(AAPL) as client:
            world.feed.queue.put_nowait(5)  # type: ignore[arg-type] # as `redis-cli PUBLISH prices 5` does
            world.feed.queue.put_nowait({"symbol": "AAPL", **cached("103", world.now)})
            await until(
                client, lambda message: message["type"] == "prices" and message["prices"]["AAPL"]["price"] == "103.00"
            )
        assert world.feed.subscriptions == 2

    asyncio.run(run())
    assert "a round of the live push failed" in caplog.text


def test_a_browser_says_what_it_shows_by_now() -> None:
    world = World([candle(0), candle(0, symbol="BTC-USD")])
    with served(world) as client, client.websocket_connect("/live?search=?symbol=AAPL", headers=SAME_PAGE) as socket:
        assert socket.receive_json()[0]["type"] == "status"
        socket.send_text("?symbol=BTC-USD")
        for _ in range(20):
            charts = [each for each in socket.receive_json() if each["type"] == "chart"]
            if charts and charts[0]["chart"].startswith("BTC-USD"):
                break
        else:
            pytest.fail("no chart of what is shown came")


@pytest.mark.parametrize("origin", [{"origin": "http://elsewhere.example"}, {}])
def test_a_page_of_another_site_gets_nothing(origin: dict[str, str]) -> None:
    world = World([candle(0)])
    with served(world) as client, pytest.raises(WebSocketDisconnect), client.websocket_connect("/live", headers=origin):
        pass


def test_there_is_room_for_so_many_and_the_next_is_told_to_try_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "MOST_CLIENTS", 1)
    world = World([candle(0)])
    with served(world) as client, client.websocket_connect("/live", headers=SAME_PAGE) as held:
        held.receive_json()
        with (
            client.websocket_connect("/live", headers=SAME_PAGE) as refused,
            pytest.raises(WebSocketDisconnect) as told,
        ):
            refused.receive_json()
        assert told.value.code == 1013


def test_what_is_too_long_is_refused() -> None:
    world = World([candle(0)])
    with served(world) as client:
        assert client.get("/live", params={"search": "x" * 501}).status_code == 422
        with client.websocket_connect("/live", headers=SAME_PAGE) as socket:
            socket.send_text("x" * 501)
            told = next(each for each in iter(socket.receive, None) if each["type"] == "websocket.close")
            assert told["code"] == 1009


def test_windows_are_counted_from_the_running_one() -> None:
    world = World([candle(0)])
    world.now = datetime.fromisoformat("2026-03-02T14:33:20+00:00")
    assert world.hub._windows_ago(AAPL, 2).isoformat() == "2026-03-02T14:32:00+00:00"
    assert world.hub._windows_ago(Selection("AAPL", "1h"), 1).isoformat() == "2026-03-02T14:00:00+00:00"
