"""`/live`: the push over a websocket, and the same messages by a fetch for whom no socket holds."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import datetime
from typing import Annotated, Any
from urllib.parse import urlsplit

from fastapi import APIRouter, Query
from starlette.types import Lifespan
from starlette.websockets import WebSocket, WebSocketDisconnect

from include.api.ranges import in_utc
from include.dashboard.live import Client, LiveHub
from include.dashboard.selection import Selection, parse_selection

PATH = "/live"
#: What a browser says is an address's query: no longer than this.
_LONGEST = 500
_TRY_AGAIN, _NOT_ALLOWED, _TOO_LONG = 1013, 1008, 1009


def create_live_router(hub: LiveHub, symbols: Collection[str]) -> APIRouter:
    """`symbols`: those that can be watched."""
    router = APIRouter(include_in_schema=False)
    known = list(symbols)

    @router.get(PATH)
    async def fetch(
        search: Annotated[str, Query(max_length=_LONGEST)] = "", since: datetime | None = None
    ) -> list[dict[str, Any]]:
        return await hub.fetched(_watched(search, known), in_utc(since, "since"))

    @router.websocket(PATH)
    async def push(socket: WebSocket) -> None:
        # A page of another site could open one too: the browser says whose page it is.
        if urlsplit(socket.headers.get("origin", "")).netloc != socket.headers.get("host"):
            await socket.close(_NOT_ALLOWED)
            return
        await socket.accept()
        if hub.is_full:
            await socket.close(_TRY_AGAIN, "too many browsers")
            return
        async with hub.client(_watched(socket.query_params.get("search", ""), known)) as client:
            listening = asyncio.create_task(_listen(socket, client, known))
            sending = asyncio.create_task(_send(socket, client))
            try:
                await asyncio.wait([listening, sending], return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in (listening, sending):
                    task.cancel()
                    with suppress(asyncio.CancelledError, WebSocketDisconnect, RuntimeError):
                        await task

    return router


def alongside(lifespan: Lifespan[Any], hub: LiveHub) -> Lifespan[Any]:
    """The server's own lifespan, with the hub running in it."""

    @asynccontextmanager
    async def both(app: Any) -> AsyncIterator[Mapping[str, Any]]:
        async with lifespan(app) as state, hub.running():
            yield state or {}

    return both


def _watched(search: str, known: list[str]) -> Selection:
    """Without its range: the end of a chart is the same for all who see a part of it."""
    return replace(parse_selection(search, known), start=None, end=None)


async def _listen(socket: WebSocket, client: Client, known: list[str]) -> None:
    """The browser says what it shows by now; it ends when the browser leaves."""
    while True:
        text = await socket.receive_text()
        if len(text) > _LONGEST:
            await socket.close(_TOO_LONG)
            return
        client.selection = _watched(text, known)


async def _send(socket: WebSocket, client: Client) -> None:
    while True:
        await socket.send_json(await client.messages())
