"""What can happen to a websocket: refused, mute, cut, and every way in which its frames can be wrong."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec
from starlette.websockets import WebSocket

from include.sandbox.dialect import Stream
from include.sandbox.faults import Fault, FaultKind, Faults

POLL_SECONDS = 0.05
#: From the announcement of a shutdown to the end of the connection.
SHUTDOWN_SECONDS = 5.0
HOUR_MS = 3_600_000

#: (a frame, those held back) to the frames that are sent in its place.
FrameEffect = Callable[[str, list[str]], list[str]]


def _out_of_order(frame: str, held: list[str]) -> list[str]:
    if held:
        return [frame, held.pop()]
    held.append(frame)
    return []


def _moved(change: Callable[[int], int]) -> FrameEffect:
    """Other times in a trade's frame, wrapped or bare."""

    def effect(frame: str, held: list[str]) -> list[str]:
        document = msgspec.json.decode(frame)
        event = document.get("data", document)
        event.update({key: change(event[key]) for key in ("E", "T") if key in event})
        return [msgspec.json.encode(document).decode()]

    return effect


def _other_price(frame: str, held: list[str]) -> list[str]:
    document = msgspec.json.decode(frame)
    event = document.get("data", document)
    event["p"] = f"{float(event['p']) * 1.01:.8f}"
    return [frame, msgspec.json.encode(document).decode()]


def _nothing(frame: str, held: list[str]) -> list[str]:
    return []


_EFFECTS: dict[str, FrameEffect] = {
    "ws-mute": _nothing,
    "ws-hole": _nothing,
    "ws-no-x": _nothing,
    "ws-duplicates": lambda frame, held: [frame, frame],
    "ws-out-of-order": _out_of_order,
    "ws-bad-frame": lambda frame, held: [frame[: len(frame) // 2]],
    "ws-future-1h": _moved(lambda stamp: stamp + HOUR_MS),
    "ws-seconds": _moved(lambda stamp: stamp // 1000),
    "ws-equal-ids": _other_price,
}

STREAM_FAULTS: tuple[FaultKind, ...] = (
    FaultKind("ws-refuse", "a connection is refused with 403", on="connect"),
    FaultKind("ws-no-ping", "the server sends no pings", on="ping"),
    FaultKind("ws-close", "connections are cut without a close frame", on="connection"),
    FaultKind("ws-mute", "connected, and no news comes", on="frame"),
    FaultKind("ws-duplicates", "every frame comes twice", on="frame"),
    FaultKind("ws-out-of-order", "frames come in pairs, the later one first", on="frame"),
    FaultKind("ws-bad-frame", "half of a frame", on="frame"),
)
BINANCE_STREAM_FAULTS: tuple[FaultKind, ...] = (
    *STREAM_FAULTS,
    FaultKind("ws-shutdown", "serverShutdown is announced, and 5 seconds later the connection ends", on="connection"),
    FaultKind("ws-hole", "trades are left out; their ids show it", path="trade", on="frame"),
    FaultKind("ws-no-x", "the closing frame of a kline does not come", path="kline-closed", on="frame"),
    FaultKind("ws-future-1h", "trades an hour ahead", path="trade", on="frame"),
    FaultKind("ws-seconds", "trades' times in seconds, not milliseconds", path="trade", on="frame"),
    FaultKind("ws-equal-ids", "a trade comes again under its id and time, dearer", path="trade", on="frame"),
)


class FaultyStream(Stream):
    """A connection that can meet faults. `clock` gives UTC epoch seconds."""

    def __init__(self, websocket: WebSocket, source: str, faults: Faults, clock: Callable[[], float]) -> None:
        super().__init__(websocket)
        self._source = source
        self._faults = faults
        self._clock = clock
        self._held: list[str] = []

    async def tell(self, symbol: str, kind: str, text: str) -> None:
        fault = self._faults.met(self._source, "frame", self._clock(), kind, (symbol,))
        frames = [text, *self._held] if fault is None else _EFFECTS[fault.kind.name](text, self._held)
        if fault is None:
            self._held.clear()
        for frame in frames:
            await super().tell(symbol, kind, frame)

    async def watch(self) -> None:
        """Ends when a fault ends the connection."""
        fault: Fault | None = None
        while fault is None:
            await asyncio.sleep(POLL_SECONDS)
            fault = self._faults.met(self._source, "connection", self._clock())
        if fault.kind.name == "ws-shutdown":
            await self.answer(msgspec.json.encode({"e": "serverShutdown", "E": int(self._clock() * 1000)}).decode())
            await asyncio.sleep(SHUTDOWN_SECONDS)
            await self.close(1001)
