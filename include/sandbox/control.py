"""What the sandbox says about itself, and the door to its faults: the routes under /sandbox."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Annotated

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from include.market.event import SOURCES
from include.sandbox.bars import DAY
from include.sandbox.calls import CallBook
from include.sandbox.dialect import json_response
from include.sandbox.faults import FaultRefused, Faults
from include.sandbox.market import Market, Sandbox, iso

TIMELINE_DAYS_BEFORE, TIMELINE_DAYS_AFTER = 7, 2


class FaultWanted(msgspec.Struct, forbid_unknown_fields=True):
    """The body of POST /sandbox/faults; without `seconds` and `calls` it lasts until it is cleared."""

    source: str
    name: str
    symbol: str | None = None
    path: str | None = None
    seconds: Annotated[float, msgspec.Meta(gt=0)] | None = None
    calls: Annotated[int, msgspec.Meta(ge=1)] | None = None
    after: Annotated[int, msgspec.Meta(ge=0)] = 0


class Control:
    """The handlers. `clock` is the real one, UTC epoch seconds."""

    def __init__(
        self, sandbox: Sandbox, faults: Faults, calls: CallBook, seed: int, clock: Callable[[], float]
    ) -> None:
        self._sandbox = sandbox
        self._market: Market = sandbox.market
        self._faults = faults
        self._calls = calls
        self._seed = seed
        self._clock = clock

    def routes(self) -> list[Route]:
        return [
            Route("/sandbox/health", self.health),
            Route("/sandbox/status", self.status),
            Route("/sandbox/calls", self.calls),
            Route("/sandbox/faults", self.faults, methods=["GET"]),
            Route("/sandbox/faults", self.start, methods=["POST"]),
            Route("/sandbox/faults", self.clear, methods=["DELETE"]),
            Route("/sandbox/faults/{id:int}", self.clear, methods=["DELETE"]),
        ]

    async def health(self, request: Request) -> Response:
        return json_response({"status": "ok"})

    async def status(self, request: Request) -> Response:
        market, now = self._market, int(self._clock())
        segments = market.timeline(now - TIMELINE_DAYS_BEFORE * DAY, now + TIMELINE_DAYS_AFTER * DAY)
        return json_response(
            {
                "market": market.name,
                "seed": self._seed,
                "start": iso(market.start),
                "now": iso(now),
                "symbols": {class_: market.symbols(class_) for class_ in ("stock", "crypto")},
                "calls": self._calls.counts,
                "timeline": [segment.as_json() for segment in segments],
            }
        )

    async def calls(self, request: Request) -> Response:
        """`source` and `since` (ISO 8601, or epoch seconds) narrow it."""
        source, since = request.query_params.get("source"), request.query_params.get("since", "0")
        if source is not None and source not in self._faults.known:
            return _unprocessable(f"no source {source}: it takes {', '.join(sorted(self._faults.known))}")
        try:
            start = float(since) if since.replace(".", "", 1).isdigit() else datetime.fromisoformat(since).timestamp()
        except ValueError:
            return _unprocessable(f"since={since}: it takes a time in ISO 8601 or in epoch seconds")
        return json_response(self._calls.as_json(source, start))

    async def faults(self, request: Request) -> Response:
        known = {source: {n: kind.line for n, kind in kinds.items()} for source, kinds in self._faults.known.items()}
        return json_response({"active": self._active(), "known": known})

    async def start(self, request: Request) -> Response:
        try:
            wanted = msgspec.json.decode(await request.body(), type=FaultWanted)
            symbol_id = None if wanted.symbol is None else self._id(wanted.source, wanted.symbol)
            fault = self._faults.start(
                wanted.source,
                wanted.name,
                self._clock(),
                seconds=wanted.seconds,
                calls=wanted.calls,
                after=wanted.after,
                symbol=wanted.symbol,
                symbol_id=symbol_id,
                path=wanted.path,
            )
        except (msgspec.MsgspecError, UnicodeDecodeError, FaultRefused) as error:
            return _unprocessable(str(error))
        return json_response(fault.as_json(), 201)

    async def clear(self, request: Request) -> Response:
        id_ = request.path_params.get("id")
        ended = self._faults.clear(id_)
        if id_ is not None and not ended:
            return json_response({"detail": f"no fault {id_} is active"}, 404)
        return json_response({"ended": ended})

    def _active(self) -> list[dict[str, object]]:
        return [fault.as_json() for fault in self._faults.active(self._clock())]

    def _id(self, source: str, symbol: str) -> str | None:
        """The symbol's id at the source; a wrong source is refused when the fault is started."""
        if source not in SOURCES:
            return None
        ids = {listing.symbol: id_ for id_, listing in self._sandbox.listings(source).items()}
        if symbol not in ids:
            raise FaultRefused(f"{source} has no symbol {symbol} here")
        return ids[symbol]


def _unprocessable(detail: str) -> Response:
    return json_response({"detail": detail}, 422)
