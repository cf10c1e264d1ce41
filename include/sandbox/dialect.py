"""The shape of a dialect: one file a source, one entry in app.DIALECTS."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass, field

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.websockets import WebSocket, WebSocketDisconnect

from include.market.event import Source

#: Answers one call. It may state what the call costs of the source's quota in `request.state.cost`
#: (else 1), and finds what was used of it before in `request.state.used`.
Handler = Callable[[Request], Awaitable[Response]]


class Stream:
    """A websocket as a dialect sees it: what it is told, and what it tells of a symbol."""

    def __init__(self, websocket: WebSocket) -> None:
        self._websocket = websocket
        self.path_params = websocket.path_params
        self.query_params = websocket.query_params

    async def receive(self) -> str:
        """The client's next message. Raises WebSocketDisconnect at its end."""
        return await self._websocket.receive_text()

    async def answer(self, text: str) -> None:
        """Tells what the client asked about the connection itself."""
        await self._websocket.send_text(text)

    async def tell(self, symbol: str, kind: str, text: str) -> None:
        """Tells news of a symbol (canonical): `trade`, `kline`, `kline-closed`, `ticker`, `price`."""
        await self._websocket.send_text(text)

    async def close(self, code: int, reason: str = "") -> None:
        await self._websocket.close(code, reason)


#: Speaks with one client until it leaves; returning ends the connection.
StreamHandler = Callable[[Stream], Coroutine[object, object, None]]


@dataclass(frozen=True, slots=True)
class Dialect:
    """The GET routes and the websocket routes of one source, by their path under `/<name>`."""

    name: Source
    routes: Mapping[str, Handler]
    streams: Mapping[str, StreamHandler] = field(default_factory=dict)


async def first_of(*talks: Coroutine[object, object, None]) -> None:
    """Runs them side by side until one ends or the client leaves; the others are ended then."""
    tasks = [asyncio.create_task(talk) for talk in talks]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        error = task.exception()
        if error is not None and not isinstance(error, WebSocketDisconnect):
            raise error


def json_response(document: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Strict JSON; floats are written with the fewest digits that give the same double."""
    return Response(
        msgspec.json.encode(document),
        status,
        dict(headers or {}),
        media_type="application/json;charset=utf-8",
    )
