"""Faults on request: which are known, which are active, and which one a call meets.

A fault stands between the caller and a dialect's handler; the dialects know nothing of it.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Literal

from starlette.requests import Request
from starlette.responses import Response

from include.errors import MarketDataError
from include.sandbox.dialect import Handler
from include.sandbox.market import iso

#: The moment that the sandbox's clock shows while an answer is made for another one than now.
moment: ContextVar[float | None] = ContextVar("moment", default=None)
JSON = "application/json;charset=utf-8"

#: Answers a call in the handler's place: with its answer changed, or another.
Effect = Callable[[Request, Handler, "Fault"], Awaitable[Response]]


class FaultRefused(MarketDataError):
    """A fault that cannot be started; the message names what is known."""


@dataclass(frozen=True, slots=True)
class FaultKind:
    """One fault of one source: its name, what the caller sees, and how it is done.

    `on` says where it acts: a call, or a websocket's connecting, pings, connection or frames; those of
    websockets have their effects in `stream_faults`.
    """

    name: str
    line: str
    effect: Effect | None = None
    #: Only calls whose path and query hold this, unless a fault says another part.
    path: str = ""
    #: Whoever calls on while it is active makes it worse.
    ban: bool = False
    on: Literal["call", "connect", "ping", "connection", "frame"] = "call"


@dataclass(slots=True)
class Fault:
    """An active fault. Times in UTC epoch seconds; `until` and `calls` None: no end but a `clear`."""

    id: int
    source: str
    kind: FaultKind
    began: float
    until: float | None = None
    calls: int | None = None
    after: int = 0
    symbol: str | None = None
    #: The symbol's id at the source: what a changed answer has its row under.
    symbol_id: str | None = None
    path: str = ""
    #: Calls that met it.
    hits: int = 0
    _passed: int = field(default=0, repr=False)

    def is_over(self, now: float) -> bool:
        return (self.until is not None and now >= self.until) or (self.calls is not None and self.hits >= self.calls)

    def seconds_left(self, now: float, otherwise: float) -> float:
        return otherwise if self.until is None else max(1.0, self.until - now)

    def meets(self, text: str, symbols: Sequence[str]) -> bool:
        """Whether it is about this call; counts those that come before it begins."""
        if self.path not in text or (self.symbol is not None and self.symbol not in symbols):
            return False
        self._passed += 1
        if self._passed <= self.after:
            return False
        self.hits += 1
        return True

    def as_json(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "source": self.source,
            "name": self.kind.name,
            "line": self.kind.line,
            "symbol": self.symbol,
            "path": self.path,
            "began": iso(int(self.began)),
            "until": None if self.until is None else iso(int(self.until)),
            "calls": self.calls,
            "after": self.after,
            "hits": self.hits,
        }


class Faults:
    """The active faults. Of two that are about the same call the newer one is met."""

    def __init__(self, known: Mapping[str, Sequence[FaultKind]]) -> None:
        self.known = {source: {kind.name: kind for kind in kinds} for source, kinds in known.items()}
        self._active: list[Fault] = []
        self._ids = count(1)

    def active(self, now: float) -> list[Fault]:
        """Newest first; those that are over are forgotten."""
        self._active = [fault for fault in self._active if not fault.is_over(now)]
        return self._active[::-1]

    def start(
        self,
        source: str,
        name: str,
        now: float,
        *,
        seconds: float | None = None,
        calls: int | None = None,
        after: int = 0,
        symbol: str | None = None,
        symbol_id: str | None = None,
        path: str | None = None,
    ) -> Fault:
        """Raises FaultRefused, which lists what is known, for a wrong source or name."""
        kinds = self.known.get(source)
        if kinds is None:
            raise FaultRefused(f"no source {source}: it takes {', '.join(sorted(self.known))}")
        if name not in kinds:
            raise FaultRefused(f"{source} has no fault {name}: it takes {', '.join(sorted(kinds))}")
        until = None if seconds is None else now + seconds
        part = kinds[name].path if path is None else path
        fault = Fault(next(self._ids), source, kinds[name], now, until, calls, after, symbol, symbol_id, part)
        self._active.append(fault)
        return fault

    def clear(self, id_: int | None = None) -> int:
        """Ends one fault, or all; how many there were."""
        kept = [fault for fault in self._active if id_ is not None and fault.id != id_]
        ended = len(self._active) - len(kept)
        self._active = kept
        return ended

    def met(self, source: str, on: str, now: float, text: str = "", symbols: Sequence[str] = ()) -> Fault | None:
        """The fault that this call or frame meets."""
        for fault in self.active(now):
            if fault.source == source and fault.kind.on == on and fault.meets(text, symbols):
                return fault
        return None

    def is_on(self, source: str, on: str, now: float) -> bool:
        """Whether one of these is active, without meeting it."""
        return any(fault.source == source and fault.kind.on == on for fault in self.active(now))

    def ban(self, source: str, now: float) -> Fault | None:
        """A ban that a caller has been told of."""
        told = (fault for fault in self.active(now) if fault.source == source and fault.kind.ban and fault.hits)
        return next(told, None)


def whole(
    name: str,
    line: str,
    status: int,
    body: object,
    headers: Mapping[str, str] | None = None,
    *,
    media: str = JSON,
    path: str = "",
) -> FaultKind:
    """Another answer in place of the good one: text and bytes as they are, all else as JSON."""
    content = body if isinstance(body, (str, bytes)) else compact(body)

    async def effect(request: Request, respond: Handler, fault: Fault) -> Response:
        return Response(content, status, dict(headers or {}), media_type=media)

    return FaultKind(name, line, effect, path)


def changed(
    name: str, line: str, change: Callable[[Any, Fault], object], *, path: str = "", source_body: bool = False
) -> FaultKind:
    """The good answer, its document changed in place or replaced; text and bytes are sent as they are.

    `source_body`: the change is given the body's bytes. A refusal stays as it is, and so does what is no JSON.
    """

    async def effect(request: Request, respond: Handler, fault: Fault) -> Response:
        answer = await respond(request)
        readable = source_body or "json" in answer.headers.get("content-type", "")
        if answer.status_code != 200 or not readable:
            return answer
        body = bytes(answer.body)
        document = body if source_body else json.loads(body)
        result = change(document, fault)
        document = document if result is None else result
        content = document if isinstance(document, (str, bytes)) else compact(document)
        headers = {key: value for key, value in answer.headers.items() if key != "content-length"}
        return Response(content, 200, headers)

    return FaultKind(name, line, effect, path)


def compact(document: object) -> str:
    """JSON without blanks, and with NaN and Infinity where they are asked for."""
    return json.dumps(document, separators=(",", ":"))


def at_moment(name: str, line: str, when: Callable[[float, Fault], float]) -> FaultKind:
    """The answer that the source would give at another moment, epoch seconds."""

    async def effect(request: Request, respond: Handler, fault: Fault) -> Response:
        token = moment.set(when(request.app.state.clock(), fault))
        try:
            return await respond(request)
        finally:
            moment.reset(token)

    return FaultKind(name, line, effect)
