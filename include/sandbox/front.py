"""Stands before every dialect: counts what it is asked, holds callers to the real limits, applies faults."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import Response
from starlette.websockets import WebSocket

from include.market.event import Source
from include.sandbox.calls import Call, CallBook, Limit, Meter
from include.sandbox.dialect import Handler, StreamHandler, first_of
from include.sandbox.faults import Fault, Faults
from include.sandbox.market import Listing, Sandbox
from include.sandbox.stream_faults import FaultyStream

#: Never shown: what a caller proves itself with.
SECRETS = frozenset({"apikey", "crumb", "x_cg_demo_api_key", "x_cg_pro_api_key"})
NAMES = ("symbol", "symbols", "ids", "id", "streams")
#: Refused this often within a minute, a caller who goes on is banned.
PATIENCE = Limit(5, 60, "418")
BAN_SECONDS = 120.0

WebSocketEndpoint = Callable[[WebSocket], Awaitable[None]]


class Front:
    """`clock` is the real one, UTC epoch seconds; the dialects' own clock may show another moment."""

    def __init__(self, sandbox: Sandbox, faults: Faults, calls: CallBook, clock: Callable[[], float]) -> None:
        self._sandbox = sandbox
        self._faults = faults
        self._calls = calls
        self._clock = clock
        self._patience = {"binance": Meter(PATIENCE)}

    def call(self, source: Source, path: str, handler: Handler) -> Handler:
        """The handler of a route, behind all that."""
        self._calls.open(source, path)
        listings = self._sandbox.listings(source)

        async def served(request: Request) -> Response:
            now = self._clock()
            symbols = _symbols(listings, request.path_params, request.query_params)
            shown, query = request.url.path.removeprefix(f"/{source}"), _query(request.query_params)
            request.state.cost, request.state.used = 1, self._calls.used(source, now)
            fault = self._fault(source, f"{shown}?{query}", symbols, now)
            status = 0
            try:
                answering = handler(request) if fault is None else _effect(fault, request, handler)
                response = await answering
                status = response.status_code
            finally:
                name = None if fault is None else fault.kind.name
                self._calls.add(Call(now, source, shown, query, symbols, request.state.cost, status, name), path)
            return response

        return served

    def stream(self, source: Source, path: str, handler: StreamHandler) -> WebSocketEndpoint:
        """The same for a websocket route. A connection that is let in costs no weight."""
        self._calls.open(source, path)
        listings = self._sandbox.listings(source)

        async def connected(websocket: WebSocket) -> None:
            now = self._clock()
            symbols = _symbols(listings, websocket.path_params, websocket.query_params)
            shown, query = websocket.url.path.removeprefix(f"/{source}"), _query(websocket.query_params)
            fault = self._faults.met(source, "connect", now, shown, symbols)
            over = self._calls.over(f"{source}:stream", now)
            if over is not None:
                self._calls.note("calls_over_limit", source)
            refused = fault is not None or over is not None
            name = None if fault is None else fault.kind.name
            self._calls.add(Call(now, source, shown, query, symbols, 0, 403 if refused else 101, name), path)
            self._calls.spend(f"{source}:stream", now)
            if refused:
                await websocket.close()
                return
            # The server asks this before each of its pings.
            websocket.scope["state"]["pings"] = lambda: not self._faults.is_on(source, "ping", self._clock())
            await websocket.accept()
            stream = FaultyStream(websocket, source, self._faults, self._clock)
            await first_of(handler(stream), stream.watch())

        return connected

    def _fault(self, source: str, text: str, symbols: Sequence[str], now: float) -> Fault | None:
        """What this call meets: a fault on request, else the refusal of a caller who is over a limit."""
        if self._faults.ban(source, now) is not None:
            self._calls.note("calls_while_banned", source)
        over = self._calls.over(source, now)
        if over is not None:
            self._calls.note("calls_over_limit", source)
        fault = self._faults.met(source, "call", now, text, symbols)
        if fault is None and over is not None:
            self._lose_patience(source, now)
            kind = self._faults.known[source][over.limit.refusal]
            return Fault(0, source, kind, now, over.frees_at())
        return fault

    def _lose_patience(self, source: str, now: float) -> None:
        meter = self._patience.get(source)
        if meter is not None:
            meter.add(1, now)
            if meter.used(now) >= PATIENCE.amount:
                self._faults.start(source, PATIENCE.refusal, now, seconds=BAN_SECONDS)


def _effect(fault: Fault, request: Request, handler: Handler) -> Awaitable[Response]:
    if fault.kind.effect is None:
        raise AssertionError(f"{fault.kind.name} is no fault of a call")
    return fault.kind.effect(request, handler, fault)


def _symbols(listings: Mapping[str, Listing], path_params: Mapping[str, Any], params: QueryParams) -> list[str]:
    """The canonical symbols that a call asks for, in its order."""
    texts = (*map(str, path_params.values()), *(params[name] for name in NAMES if name in params))
    found = []
    for text in texts:
        for id_ in re.findall(r"[\w.=^-]+", text):
            listing = listings.get(id_) or listings.get(id_.upper())
            if listing is not None and listing.symbol not in found:
                found.append(listing.symbol)
    return found


def _query(params: QueryParams) -> str:
    return urlencode([(key, value) for key, value in params.multi_items() if key not in SECRETS], safe=',:[]"')
