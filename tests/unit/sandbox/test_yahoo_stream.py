"""Yahoo's websocket: protobuf in base64 in JSON."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest
from websockets.sync.client import ClientConnection, connect
from yfinance.pricing_pb2 import PricingData  # type: ignore[import-untyped]

from include.sandbox.bars import DAY, MINUTE
from include.sandbox.simulated import SimulatedMarket
from tests.unit.sandbox.conftest import NOW
from tests.unit.sandbox.test_faults import Clock
from tests.waiting import wait_until

RUNNING = NOW - NOW % MINUTE


@pytest.fixture
def served(simulated: SimulatedMarket, serve: Any) -> Iterator[tuple[str, Clock]]:
    clock = Clock(RUNNING)
    with serve(simulated, clock) as url:
        yield url.replace("http", "ws") + "/yahoo/stream", clock


def decoded(frame: str) -> Any:
    data = PricingData()
    data.ParseFromString(base64.b64decode(frame))
    return data


def received(socket: ClientConnection, count: int) -> list[Any]:
    return [decoded(json.loads(socket.recv(10))["message"]) for _ in range(count)]


def next_id(socket: ClientConnection, clock: Clock) -> str | None:
    """Of the next frame, a few seconds on; None if none came."""
    clock.now += 3
    try:
        frame = socket.recv(0.2)
    except TimeoutError:
        return None
    return str(decoded(frame if frame[0] != "{" else json.loads(frame)["message"]).id)


def subscribed(socket: ClientConnection, clock: Clock, *ids: str) -> None:
    """Returns when the server has taken it up, which it does not say: by the first news."""
    socket.send(json.dumps({"subscribe": ids}))
    wait_until(lambda: next_id(socket, clock), seconds=20, what="news of a subscription")


def test_prices_of_what_was_subscribed(simulated: SimulatedMarket, served: tuple[str, Clock]) -> None:
    address, clock = served
    with connect(f"{address}?version=2", max_queue=None) as socket:
        subscribed(socket, clock, "AAPL", "BTC-USD", "NOPE")
        clock.now = (int(clock.now) // MINUTE + 2) * MINUTE - 1
        frames = received(socket, 30)
    assert {frame.id for frame in frames} <= {"AAPL", "BTC-USD"}
    apple = next(frame for frame in frames[::-1] if frame.id == "AAPL")
    minute = apple.time // 60_000 * 60
    (bar,) = simulated.minutes("AAPL", minute, minute + MINUTE)
    assert float(bar.low) - 0.01 <= apple.price <= float(bar.high) + 0.01
    assert (apple.currency, apple.quote_type, apple.market_hours) == ("USD", 8, 1)
    today = simulated.minutes("AAPL", minute - minute % DAY, minute)
    assert int(today.volume.sum()) < apple.day_volume <= int(today.volume.sum()) + bar.volume
    assert apple.last_size > 0


def test_the_first_version_is_not_wrapped_and_symbols_are_given_up(served: tuple[str, Clock]) -> None:
    address, clock = served
    with connect(address, max_queue=None) as socket:
        subscribed(socket, clock, "BTC-USD")
        clock.now += 10
        assert decoded(socket.recv(10)).id == "BTC-USD"
        socket.send('{"unsubscribe":["BTC-USD"],"subscribe":["ETH-USD"]}')
        wait_until(lambda: next_id(socket, clock) == "ETH-USD", seconds=20, what="news of the other symbol")
        clock.now += 60
        assert {decoded(socket.recv(10)).id for _ in range(15)} == {"ETH-USD"}
