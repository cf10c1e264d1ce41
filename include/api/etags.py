"""Entity tags: who has the answer already is told so, and gets it not again (RFC 9110 §8.8, §13.1.2)."""

from __future__ import annotations

import hashlib

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

PREFIX = "/api/v1/"
#: Of a complete answer, so no use without it.
_OF_THE_BODY = ("content-length", "content-type", "content-disposition")


class EntityTags:
    """ASGI middleware. The tag is a hash of the body, so it holds over restarts; nothing else is kept between answers.

    An answer may be stored and must be asked for again: most ranges still change, by late events and corrections.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith(PREFIX) or scope["method"] != "GET":
            await self._app(scope, receive, send)
            return
        known = Headers(scope=scope).getlist("if-none-match")
        await self._app(scope, receive, _Held(send, known))


class _Held:
    """Holds an answer back until its body is whole."""

    def __init__(self, send: Send, known: list[str]) -> None:
        self._send = send
        self._known = known
        self._start: Message | None = None
        self._body = bytearray()

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            if message["status"] == 200:
                self._start = message
                return
            MutableHeaders(scope=message)["Cache-Control"] = "no-store"
        if self._start is None or message["type"] != "http.response.body":
            await self._send(message)
            return
        self._body += message.get("body", b"")
        if not message.get("more_body", False):
            await self._answer(self._start, bytes(self._body))

    async def _answer(self, start: Message, body: bytes) -> None:
        tag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
        headers = MutableHeaders(scope=start)
        headers.update({"ETag": tag, "Cache-Control": "no-cache"})
        if _matches(self._known, tag):
            for name in _OF_THE_BODY:
                del headers[name]
            start["status"], body = 304, b""
        await self._send(start)
        await self._send({"type": "http.response.body", "body": body})


def _matches(known: list[str], tag: str) -> bool:
    """Weak comparison, as the field wants it."""
    tags = {each.strip().removeprefix("W/") for line in known for each in line.split(",")}
    return "*" in tags or tag in tags
