"""How much may be asked: the size of a question, and how many a minute from one address."""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from fastapi import Request
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from include.api.problems import problem

PREFIX = "/api/"
#: Supervision asks it, from the address that the scripts of this machine ask from.
HEALTH = "/api/v1/health"
MINUTE = 60.0
#: An address costs about 200 bytes; beyond so many the one whose minute began first is forgotten.
MAX_CLIENTS = 10_000
#: The longest question of ours has less than 600 characters.
MAX_PATH = 500
MAX_QUERY = 2_000
#: No question has a body.
MAX_BODY = 1_000
#: What a callback of the pages sends along is far below this.
MAX_PAGE_BODY = 500_000


@dataclass(slots=True)
class _Window:
    started: float
    asked: int = 0


class RateLimit:
    """ASGI middleware: so many requests in a minute from one address, counted from its first on; then 429.

    In the memory of this process, as the server has one worker.
    """

    def __init__(
        self,
        app: ASGIApp,
        requests_per_minute: int,
        clock: Callable[[], float] = time.monotonic,
        max_clients: int = MAX_CLIENTS,
    ) -> None:
        self._app = app
        self._allowed = requests_per_minute
        self._clock = clock
        self._max_clients = max_clients
        #: In the order in which their minutes began, so that what is over lies in front.
        self._windows: OrderedDict[str, _Window] = OrderedDict()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith(PREFIX) or scope["path"] == HEALTH:
            await self._app(scope, receive, send)
            return
        client = scope.get("client")
        now = self._clock()
        window = self._window(client[0] if client else "", now)
        window.asked += 1
        seconds = max(1, math.ceil(window.started + MINUTE - now))
        headers = self._headers(self._allowed - window.asked, seconds)

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(headers)
            await send(message)

        if window.asked > self._allowed:
            detail = f"more than {self._allowed} requests in a minute from this address; go on in {seconds} s"
            response = problem(Request(scope), 429, detail)
            response.headers["Retry-After"] = f"{seconds}"
            await response(scope, receive, send_with_headers)
            return
        await self._app(scope, receive, send_with_headers)

    def _window(self, address: str, now: float) -> _Window:
        while self._windows:
            oldest = next(iter(self._windows.values()))
            if oldest.started + MINUTE > now:
                break
            self._windows.popitem(last=False)
        if address not in self._windows:
            if len(self._windows) >= self._max_clients:
                self._windows.popitem(last=False)
            self._windows[address] = _Window(now)
        return self._windows[address]

    def _headers(self, left: int, seconds: int) -> dict[str, str]:
        """The two fields of draft-ietf-httpapi-ratelimit-headers-10."""
        return {
            "RateLimit-Policy": f'"address";q={self._allowed};w={MINUTE:.0f}',
            "RateLimit": f'"address";r={max(0, left)};t={seconds}',
        }


class SizeLimit:
    """ASGI middleware: a question too long to be one is refused before anything reads it, the pages' own too."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            fault = _fault(scope)
            if fault:
                await problem(Request(scope), *fault)(scope, receive, send)
                return
        await self._app(scope, receive, send)


def _fault(scope: Scope) -> tuple[int, str] | None:
    """Status and detail. A body that does not say its length is not read by anyone."""
    if len(scope["path"]) > MAX_PATH:
        return 414, f"the path is longer than {MAX_PATH} characters"
    if len(scope["query_string"]) > MAX_QUERY:
        return 414, f"the query is longer than {MAX_QUERY} characters"
    length = next((value for name, value in scope["headers"] if name == b"content-length"), None)
    if scope["path"].startswith(PREFIX):
        is_long = length is not None and (not length.isdigit() or int(length[:20]) > MAX_BODY)
        return (413, "a question has no body; its parameters stand in the address") if is_long else None
    if length is None:
        return (411, "the length of the body is not said") if scope["method"] == "POST" else None
    is_long = not length.isdigit() or int(length[:20]) > MAX_PAGE_BODY
    return (413, f"a page asks in at most {MAX_PAGE_BODY} bytes") if is_long else None
