"""Faults that any source can have: the wire, the body as bytes, the figures, the clock."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Callable, Iterable, MutableMapping, MutableSequence
from functools import cache
from typing import Any

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from include.sandbox.dialect import Handler
from include.sandbox.faults import JSON, Fault, FaultKind, at_moment, changed, compact, whole

HTML = "text/html;charset=utf-8"
DOWN_PAGE = "<!DOCTYPE html><html><head><title>Will be right back</title></head><body>Will be right back</body></html>"
MEGABYTE = 1 << 20
HUGE_BYTES, BOMB_BYTES = 10 * MEGABYTE, 100 * MEGABYTE
NESTING = 100_000
SECONDS_BETWEEN_BYTES = 1.0

#: A place in a document that holds a price: `document[…][key]`.
Place = tuple[MutableMapping[str, Any] | MutableSequence[Any], Any]
Places = Callable[[Any], Iterable[Place]]


class _Broken(Response):
    """The first half of a body, and then nothing: the server closes the connection."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        half = bytes(self.body)[: len(self.body) // 2]
        await send({"type": "http.response.body", "body": half, "more_body": True})


async def _mute(request: Request, respond: Handler, fault: Fault) -> Response:
    """Until the client gives up."""
    while not await request.is_disconnected():
        await asyncio.sleep(0.05)
    return Response(status_code=499)


async def _slow(request: Request, respond: Handler, fault: Fault) -> Response:
    answer = await respond(request)

    async def drip() -> Any:
        for byte in bytes(answer.body):
            yield bytes([byte])
            await asyncio.sleep(SECONDS_BETWEEN_BYTES)

    return StreamingResponse(drip(), answer.status_code, dict(answer.headers))


async def _reset(request: Request, respond: Handler, fault: Fault) -> Response:
    answer = await respond(request)
    return _Broken(bytes(answer.body), answer.status_code, dict(answer.headers))


async def _bomb(request: Request, respond: Handler, fault: Fault) -> Response:
    return Response(_bomb_body(), 200, {"content-encoding": "gzip"}, media_type=JSON)


@cache
def _bomb_body() -> bytes:
    """A hundred megabytes in a hundred kilobytes."""
    packer = zlib.compressobj(9, wbits=31)
    parts = [packer.compress(b'{"padding":"')]
    parts += [packer.compress(b" " * MEGABYTE) for _ in range(BOMB_BYTES // MEGABYTE)]
    return b"".join((*parts, packer.compress(b'"}'), packer.flush()))


def _huge(body: bytes, fault: Fault) -> bytes:
    return b'{"padding":"' + b"x" * HUGE_BYTES + b'","body":' + body + b"}"


def _bad_utf8(body: bytes, fault: Fault) -> bytes:
    """The first character of the first text is cut in its middle."""
    place = body.find(b'"') + 1
    return body[:place] + b"\xe2\x82" + body[place:]


def _duplicate_keys(body: bytes, fault: Fault) -> bytes:
    """The first object says its first thing twice; a body without one is put into one."""
    place, key_end = body.find(b"{"), body.find(b":")
    if place < 0 or key_end < 0:
        return b'{"rows":[],"rows":' + body + b"}"
    return body[: place + 1] + body[place + 1 : key_end] + b":0," + body[place + 1 :]


TRANSPORT_FAULTS: tuple[FaultKind, ...] = (
    FaultKind("mute", "takes the question and never answers", _mute),
    FaultKind("slow", "the answer, a byte a second", _slow),
    FaultKind("reset", "closes the connection in mid-body", _reset),
    FaultKind("gzip-bomb", "100 MB of blanks in 100 kB of gzip", _bomb),
    changed("huge", "the answer behind 10 MB of padding", _huge, source_body=True),
    changed(
        "truncated", "half of the body, as if that were all", lambda body, _: body[: len(body) // 2], source_body=True
    ),
    whole("html", "200 with a page that says it will be right back", 200, DOWN_PAGE, media=HTML),
    whole("html-503", "503 with a page", 503, DOWN_PAGE, media=HTML),
    whole("empty-body", "200 with nothing", 200, b""),
    changed("bad-utf8", "a character cut in its middle", _bad_utf8, source_body=True),
    changed("duplicate-keys", "the first object says its first key twice", _duplicate_keys, source_body=True),
    whole("deep", "100,000 lists in one another", 200, "[" * NESTING + "]" * NESTING),
)

CLOCK_FAULTS: tuple[FaultKind, ...] = (
    at_moment("stale", "the answer of the moment the fault began, again and again", lambda _, fault: fault.began),
    at_moment(
        "late-10m", "answers without the last 10 minutes: their facts come when it ends", lambda now, _: now - 600
    ),
    at_moment("late-60m", "answers without the last hour: its facts come when it ends", lambda now, _: now - 3600),
)


def value_faults(places: Places) -> tuple[FaultKind, ...]:
    """What stands where a source has its prices."""

    def all_replaced(name: str, line: str, value: Callable[[Any], Any]) -> FaultKind:
        def change(document: Any, fault: Fault) -> None:
            for container, key in list(places(document)):
                container[key] = value(container[key])

        return changed(name, line, change)

    def overflow(document: Any, fault: Fault) -> str:
        for container, key in list(places(document)):
            container[key] = "\x001e999"
        return compact(document).replace('"\\u00001e999"', "1e999")

    return (
        all_replaced("nan", "prices are NaN", _unlike(float("nan"), "NaN")),
        all_replaced("infinity", "prices are Infinity", _unlike(float("inf"), "Infinity")),
        changed("overflow", "prices are the number 1e999", overflow),
        all_replaced("zero-price", "prices are 0", _unlike(0, "0.00000000")),
        all_replaced("negative-price", "prices are below 0", _unlike(-1.5, "-1.50000000")),
        all_replaced("booleans", "prices are true", lambda price: True),
        all_replaced("swapped-types", "prices that are numbers come as text, and text as numbers", _swapped),
    )


def _unlike(number: float, text: str) -> Callable[[Any], Any]:
    """In the type that the source writes prices in."""
    return lambda price: text if isinstance(price, str) else number


def _swapped(price: Any) -> Any:
    return float(price) if isinstance(price, str) else str(price)
