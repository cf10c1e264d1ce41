"""A websocket that is always open: reconnected when it ends, replaced before its life is over."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Protocol

import structlog
from tenacity import AsyncRetrying, retry_if_exception_type
from tenacity.wait import wait_base, wait_random_exponential
from websockets.asyncio.client import connect as websockets_connect
from websockets.exceptions import WebSocketException

#: The venue closes a connection after 24 hours.
ROTATION_SECONDS = 23 * 3600.0
#: The venue allows 300 connections in five minutes: half of that.
SPACING_SECONDS = 2.0
#: A new connection that has delivered nothing for so long replaces the old one all the same.
OVERLAP_SECONDS = 60.0
OPEN_SECONDS = 8.0
#: Frames of one connection that wait for us; then the socket waits.
QUEUED_FRAMES = 4_096
_FAILURES = (OSError, TimeoutError, WebSocketException)

log = structlog.get_logger(__name__)


class Connection(Protocol):
    """An open websocket. `recv` raises a WebSocketException when it is over."""

    async def recv(self) -> str | bytes: ...

    async def close(self) -> None: ...


Connect = Callable[[str], Awaitable[Connection]]
OnFrame = Callable[[str | bytes], None]


async def connect(url: str) -> Connection:
    """The real one. The library answers the server's pings; ours would count against the five messages a
    second that a client may send, and say nothing about the data."""
    return await websockets_connect(
        url, open_timeout=OPEN_SECONDS, close_timeout=2.0, ping_interval=None, max_queue=QUEUED_FRAMES
    )


class _Reading:
    """One connection and the task that passes its frames on."""

    def __init__(self, connection: Connection, on_frame: OnFrame) -> None:
        self._connection = connection
        self.delivered = asyncio.Event()
        self.task = asyncio.create_task(self._read(on_frame))

    async def _read(self, on_frame: OnFrame) -> None:
        """Ends with the connection."""
        while True:
            try:
                raw = await self._connection.recv()
            except _FAILURES as error:
                log.info("stream.ended", reason=str(error) or type(error).__name__)
                return
            on_frame(raw)
            self.delivered.set()

    @property
    def is_over(self) -> bool:
        """The connection has ended. Raises what a frame met that is no fault of the connection."""
        return self.task.done() and (self.task.cancelled() or self.task.result() is None)

    async def close(self) -> None:
        self.task.cancel()
        with suppress(asyncio.CancelledError, *_FAILURES):
            await self._connection.close()


class TradeSocket:
    """Passes every frame to `on_frame`; while one connection replaces another, both deliver."""

    def __init__(
        self,
        url: str,
        on_frame: OnFrame,
        connect: Connect = connect,
        rotation_seconds: float = ROTATION_SECONDS,
        spacing_seconds: float = SPACING_SECONDS,
        overlap_seconds: float = OVERLAP_SECONDS,
        wait: wait_base | None = None,
    ) -> None:
        self._url = url
        self._on_frame = on_frame
        self._connect = connect
        self._rotation_seconds = rotation_seconds
        self._spacing_seconds = spacing_seconds
        self._overlap_seconds = overlap_seconds
        self._wait = wait or wait_random_exponential(multiplier=1, max=60)
        self._replace = asyncio.Event()
        self._opened_at = -spacing_seconds
        #: Connections that were opened.
        self.opened = 0

    def replace(self, reason: str) -> None:
        """Open another connection now; the present one goes on until that delivers."""
        log.info("stream.replaced", reason=reason)
        self._replace.set()

    async def run(self) -> None:
        """Until it is cancelled."""
        reading: _Reading | None = None
        try:
            while True:
                newer = await self._open()
                if reading is not None:
                    # Trades that the new connection does not bring are still on their way in the old one.
                    await self._until(newer.delivered.wait(), newer.task, self._overlap_seconds)
                    if newer.is_over and not reading.is_over:
                        continue
                    await reading.close()
                reading = newer
                await self._until(self._replace.wait(), reading.task, self._rotation_seconds)
                self._replace.clear()
                log.info("stream.due", ended=reading.is_over)
        finally:
            if reading is not None:
                await reading.close()

    async def _open(self) -> _Reading:
        retrying = AsyncRetrying(wait=self._wait, retry=retry_if_exception_type(_FAILURES), reraise=True)
        return await retrying(self._open_once)

    async def _open_once(self) -> _Reading:
        await asyncio.sleep(max(0.0, self._opened_at + self._spacing_seconds - time.monotonic()))
        self._opened_at = time.monotonic()
        try:
            connection = await self._connect(self._url)
        except _FAILURES as error:
            log.warning("stream.unreachable", reason=str(error) or type(error).__name__)
            raise
        self.opened += 1
        return _Reading(connection, self._on_frame)

    @staticmethod
    async def _until(happens: Awaitable[object], ended: asyncio.Task[None], seconds: float) -> None:
        """Until it happens, the connection has ended, or the time is over."""
        happening = asyncio.ensure_future(happens)
        try:
            await asyncio.wait({happening, ended}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            happening.cancel()
