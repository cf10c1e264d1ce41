"""Binance's websocket, over real connections."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx2
import pytest
from websockets.exceptions import ConnectionClosed, ConnectionClosedError, InvalidStatus
from websockets.frames import Opcode
from websockets.sync.client import ClientConnection, connect

from include.sandbox.bars import MINUTE
from include.sandbox.simulated import SimulatedMarket
from tests.unit.sandbox.conftest import NOW
from tests.unit.sandbox.test_faults import Clock
from tests.waiting import wait_until

RUNNING = NOW - NOW % MINUTE
PATIENCE = 10.0


class Exchange:
    """A served sandbox whose clock a test moves."""

    def __init__(self, url: str, clock: Clock) -> None:
        self.url = url
        self.clock = clock
        self.http = httpx2.Client(base_url=url)

    @contextmanager
    def stream(self, path: str, **options: Any) -> Iterator[ClientConnection]:
        address = self.url.replace("http", "ws") + path
        with connect(address, open_timeout=PATIENCE, close_timeout=1, **options) as socket:
            # Accepted is not yet subscribed: news counts from the answer on.
            assert "result" in ask(socket, "LIST_SUBSCRIPTIONS")
            yield socket

    def begin(self, name: str, **how: Any) -> None:
        body = {"source": "binance", "name": name, **how}
        assert self.http.post("/sandbox/faults", json=body).status_code == 201

    def rest(self, path: str, **params: Any) -> Any:
        return self.http.get(f"/binance/api/v3/{path}", params=params).json()


@pytest.fixture
def exchange(simulated: SimulatedMarket, serve: Any) -> Iterator[Exchange]:
    clock = Clock(RUNNING)
    with serve(simulated, clock) as url:
        served = Exchange(url, clock)
        yield served
        served.http.close()


def ask(socket: ClientConnection, method: str, *params: str, id_: int = 1) -> Any:
    """The answer to a command, which comes before any news."""
    socket.send(json.dumps({"method": method, "params": params, "id": id_}))
    return json.loads(socket.recv(PATIENCE))


def frames(socket: ClientConnection, count: int) -> list[Any]:
    return [json.loads(socket.recv(PATIENCE)) for _ in range(count)]


def silent(socket: ClientConnection, seconds: float = 0.3) -> bool:
    try:
        socket.recv(seconds)
    except TimeoutError:
        return True
    return False


def trade_of(row: Any, event: Any) -> bool:
    """Whether a REST row and a frame are the same trade."""
    named = {"id": "t", "price": "p", "qty": "q", "time": "T", "isBuyerMaker": "m"}
    return all(row[long] == event[short] for long, short in named.items())


def test_trades_come_when_their_time_does(exchange: Exchange) -> None:
    with exchange.stream("/binance/stream/ws/btcusdt@trade") as socket:
        # Subscribed at the minute's start: its first trade, of that very moment, is past.
        assert silent(socket)
        exchange.clock.now = RUNNING + 60
        events = frames(socket, 20)
        assert silent(socket)
    rows = exchange.rest("historicalTrades", symbol="BTCUSDT", fromId=events[0]["t"], limit=20)
    assert all(trade_of(row, event) for row, event in zip(rows, events, strict=True))
    # From the second trade of this minute to the first of the next.
    assert [event["t"] - events[0]["t"] for event in events] == list(range(20))
    assert events[-1]["T"] == (RUNNING + 60) * 1000
    assert set(events[0]) == {"e", "E", "s", "t", "p", "q", "T", "m", "M"}
    assert (events[0]["e"], events[0]["s"]) == ("trade", "BTCUSDT")


def test_combined_streams_are_wrapped(exchange: Exchange) -> None:
    with exchange.stream("/binance/stream/stream?streams=btcusdt@trade/ethusdt@trade") as socket:
        exchange.clock.now = RUNNING + 59
        events = frames(socket, 38)
    assert {event["stream"] for event in events} == {"btcusdt@trade", "ethusdt@trade"}
    assert {event["data"]["s"] for event in events} == {"BTCUSDT", "ETHUSDT"}


def test_klines_close_and_agree_with_rest(exchange: Exchange) -> None:
    with exchange.stream("/binance/stream/ws/btcusdt@kline_1m") as socket:
        exchange.clock.now = RUNNING + 30
        (running,) = frames(socket, 1)
        exchange.clock.now = RUNNING + 60
        closed, begun = frames(socket, 2)
    assert [event["k"]["x"] for event in (running, closed, begun)] == [False, True, False]
    assert begun["k"]["t"] == (RUNNING + 60) * 1000
    (row, _) = exchange.rest("klines", symbol="BTCUSDT", interval="1m", limit=2)
    k = closed["k"]
    assert [k[key] for key in ("t", "o", "h", "l", "c", "v", "T", "q", "n", "V", "Q", "B")] == row
    assert (k["i"], k["s"], k["n"], k["L"] - k["f"]) == ("1m", "BTCUSDT", 20, 19)
    assert float(running["k"]["v"]) < float(k["v"])


def test_mini_tickers(exchange: Exchange) -> None:
    with exchange.stream("/binance/stream/ws/btcusdt@miniTicker") as socket:
        exchange.clock.now = RUNNING + 5
        (event,) = frames(socket, 1)
    assert set(event) == {"e", "E", "s", "c", "o", "h", "l", "v", "q"}
    assert event["c"] == exchange.rest("ticker/price", symbol="BTCUSDT")["price"]


def test_streams_are_taken_up_and_given_up(exchange: Exchange) -> None:
    with exchange.stream("/binance/stream/ws") as socket:
        assert ask(socket, "SUBSCRIBE", "btcusdt@trade", "ethusdt@trade", id_=7) == {"result": None, "id": 7}
        assert ask(socket, "UNSUBSCRIBE", "ethusdt@trade") == {"result": None, "id": 1}
        assert ask(socket, "LIST_SUBSCRIPTIONS", id_=3) == {"result": ["btcusdt@trade"], "id": 3}
        exchange.clock.now = RUNNING + 59
        assert {event["s"] for event in frames(socket, 19)} == {"BTCUSDT"}
        assert silent(socket)


def test_what_is_not_known_is_silent_and_what_is_not_json_is_said(exchange: Exchange) -> None:
    with exchange.stream("/binance/stream/ws/BTCUSDT@trade/nope@trade/btcusdt@depth") as socket:
        exchange.clock.now = RUNNING + 59
        assert silent(socket)
        socket.send("{")
        assert json.loads(socket.recv(PATIENCE))["error"]["code"] == 3
        assert ask(socket, "DANCE")["error"]["code"] == 2


def chatter(socket: ClientConnection) -> None:
    """Talks until it is shut up."""
    for _ in range(50):
        socket.send('{"method":"LIST_SUBSCRIPTIONS","id":1}')
    frames(socket, 50)


def test_more_than_five_messages_a_second_end_it(exchange: Exchange) -> None:
    with exchange.stream("/binance/stream/ws") as socket:
        with pytest.raises(ConnectionClosed) as ended:
            chatter(socket)
        assert ended.value.rcvd is not None
        assert ended.value.rcvd.code == 1008


def test_a_connection_lives_for_24_hours(exchange: Exchange) -> None:
    with exchange.stream("/binance/stream/ws") as socket:
        exchange.clock.now = RUNNING + 86_399
        assert silent(socket)
        exchange.clock.now = RUNNING + 86_400
        with pytest.raises(ConnectionClosed) as ended:
            socket.recv(PATIENCE)
        assert ended.value.rcvd is not None
        assert ended.value.rcvd.code == 1001


def test_the_server_pings_and_a_fault_stops_it(simulated: SimulatedMarket, serve: Any) -> None:
    pings: list[bytes] = []

    with (
        serve(simulated, time.time, 0.1) as url,
        httpx2.Client(base_url=url) as http,
        connect(f"{url.replace('http', 'ws')}/binance/stream/ws", ping_interval=None) as socket,
    ):
        received = socket.protocol.recv_frame

        def counted(frame: Any) -> None:
            if frame.opcode is Opcode.PING:
                pings.append(bytes(frame.data))
            received(frame)

        socket.protocol.recv_frame = counted  # type: ignore[method-assign]
        wait_until(lambda: len(pings) >= 2, seconds=5, what="two pings")
        assert len(set(pings)) == len(pings)
        assert http.post("/sandbox/faults", json={"source": "binance", "name": "ws-no-ping"}).status_code == 201
        # One may be under way; then there is nothing to wait for but time.
        assert silent(socket, 0.2)
        before = len(pings)
        assert silent(socket, 0.6)
        assert len(pings) == before


# Faults -------------------------------------------------------------------------------------------


def test_a_refused_connection(exchange: Exchange) -> None:
    exchange.begin("ws-refuse", calls=1)
    with pytest.raises(InvalidStatus) as refused, exchange.stream("/binance/stream/ws"):
        pass
    assert refused.value.response.status_code == 403
    with exchange.stream("/binance/stream/ws"):
        pass
    calls = exchange.http.get("/sandbox/calls?source=binance").json()["calls"]
    assert [(call["status"], call["fault"]) for call in calls] == [(403, "ws-refuse"), (101, None)]


def test_a_mute_connection_stays_open(exchange: Exchange) -> None:
    with exchange.stream("/binance/stream/ws/btcusdt@trade/ethusdt@trade") as socket:
        exchange.begin("ws-mute", symbol="BTC-USD")
        exchange.clock.now = RUNNING + 59
        assert {event["s"] for event in frames(socket, 19)} == {"ETHUSDT"}
        assert silent(socket)
        assert ask(socket, "LIST_SUBSCRIPTIONS")["id"] == 1


def test_a_connection_is_cut_without_a_word(exchange: Exchange) -> None:
    with exchange.stream("/binance/stream/ws/btcusdt@trade") as socket:
        exchange.begin("ws-close", calls=1)
        with pytest.raises(ConnectionClosedError) as ended:
            socket.recv(PATIENCE)
        assert ended.value.rcvd is None
    with exchange.stream("/binance/stream/ws/btcusdt@trade") as socket:
        assert silent(socket)


def test_a_shutdown_is_announced(exchange: Exchange, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("include.sandbox.stream_faults.SHUTDOWN_SECONDS", 0.2)
    with exchange.stream("/binance/stream/ws/btcusdt@trade") as socket:
        exchange.begin("ws-shutdown", calls=1)
        assert frames(socket, 1) == [{"e": "serverShutdown", "E": RUNNING * 1000}]
        # News goes on until the end.
        exchange.clock.now = RUNNING + 5
        assert frames(socket, 1)[0]["e"] == "trade"
        with pytest.raises(ConnectionClosed):
            frames(socket, 20)


def ids_under(exchange: Exchange, name: str, count: int, **how: Any) -> list[Any]:
    """The trades of the minute as they come under a fault."""
    with exchange.stream("/binance/stream/ws/btcusdt@trade") as socket:
        exchange.begin(name, **how)
        exchange.clock.now = RUNNING + 59
        events = frames(socket, count)
        assert silent(socket)
    return events


def test_a_hole_in_the_ids(exchange: Exchange) -> None:
    ids = [event["t"] for event in ids_under(exchange, "ws-hole", 16, calls=3, after=5)]
    first = ids[0]
    assert ids == [*range(first, first + 5), *range(first + 8, first + 19)]
    # And the hole is there to be filled.
    rows = exchange.rest("historicalTrades", symbol="BTCUSDT", fromId=first + 5, limit=3)
    assert [row["id"] for row in rows] == [first + 5, first + 6, first + 7]


def test_duplicates_and_disorder(exchange: Exchange) -> None:
    twice = [event["t"] for event in ids_under(exchange, "ws-duplicates", 20, calls=1)]
    assert twice == [twice[0], *range(twice[0], twice[0] + 19)]
    exchange.http.delete("/sandbox/faults")
    exchange.clock.now = RUNNING
    pairs = [event["t"] - twice[0] for event in ids_under(exchange, "ws-out-of-order", 19, calls=3)]
    # The third is held back until the next one.
    assert pairs == [1, 0, 3, 2, *range(4, 19)]


def test_the_closing_frame_does_not_come(exchange: Exchange) -> None:
    with exchange.stream("/binance/stream/ws/btcusdt@kline_1m") as socket:
        exchange.begin("ws-no-x")
        exchange.clock.now = RUNNING + 60
        (event,) = frames(socket, 1)
        assert event["k"]["x"] is False
        assert event["k"]["t"] == (RUNNING + 60) * 1000
        assert silent(socket)


def test_wrong_frames(exchange: Exchange) -> None:
    with exchange.stream("/binance/stream/ws/btcusdt@trade") as socket:
        exchange.begin("ws-bad-frame", calls=1)
        exchange.clock.now = RUNNING + 59
        with pytest.raises(json.JSONDecodeError):
            frames(socket, 1)
    for name, expected in (("ws-future-1h", 3_600_000), ("ws-seconds", None)):
        exchange.http.delete("/sandbox/faults")
        exchange.clock.now = RUNNING
        events = ids_under(exchange, name, 19, calls=1)
        (row,) = exchange.rest("historicalTrades", symbol="BTCUSDT", fromId=events[0]["t"], limit=1)
        assert events[0]["T"] == (row["time"] + expected if expected else row["time"] // 1000)
    exchange.http.delete("/sandbox/faults")
    exchange.clock.now = RUNNING
    first, again, *_ = ids_under(exchange, "ws-equal-ids", 20, calls=1)
    assert (again["t"], again["T"]) == (first["t"], first["T"])
    assert float(again["p"]) > float(first["p"])
