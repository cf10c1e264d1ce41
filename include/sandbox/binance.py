"""Binance's dialect: spot market data, keyless. Served intervals go up to one day.

The market model knows no single trades, so trade counts are 1 for a bar with volume, takers have
bought half of it, and ids are 0. Minutes without a recorded trade have no candle.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from include.sandbox.bars import DAY, Bars
from include.sandbox.binance_answers import kline, price_ticker, symbol_information, ticker_24hr
from include.sandbox.dialect import Dialect, Handler, json_response
from include.sandbox.market import Listing, Sandbox

INTERVALS = {
    "1m": 60, "3m": 180, "5m": 300, "15m": 900, "30m": 1800, "1h": 3600, "2h": 7200, "4h": 14_400,
    "6h": 21_600, "8h": 28_800, "12h": 43_200, "1d": DAY,
}  # fmt: skip
DEFAULT_ROWS, MOST_ROWS = 500, 1000
WEIGHT_LIMIT = 6000
RATE_LIMITS = [
    {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": WEIGHT_LIMIT},
    {"rateLimitType": "RAW_REQUESTS", "interval": "MINUTE", "intervalNum": 5, "limit": 61_000},
]
SYMBOL_PATTERN = "^[A-Z0-9-_.]{1,20}$"
NUMBER_PATTERN = "^[0-9]{1,20}$"


class _Refused(Exception):
    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.body = {"code": code, "msg": message}


Answer = Callable[[Request, float], Awaitable[tuple[object, int]]]


class _Weights:
    """The request weight used in the running minute, as the header states it."""

    def __init__(self) -> None:
        self._minute = -1
        self._used = 0

    def add(self, weight: int, now: float) -> int:
        minute = int(now) // 60
        self._used = weight + (self._used if minute == self._minute else 0)
        self._minute = minute
        return self._used


def dialect(sandbox: Sandbox) -> Dialect:
    """Klines, tickers, exchangeInfo, time and ping."""
    listings = {id_: listing for id_, listing in sandbox.listings("binance").items() if listing.asset_class == "crypto"}
    weights = _Weights()

    def answered(answer: Answer) -> Handler:
        """The JSON that `answer` gives with its weight; what it refuses is a 400."""

        async def handler(request: Request) -> Response:
            now = sandbox.clock()
            status = 200
            try:
                document, weight = await answer(request, now)
            except _Refused as refused:
                document, weight, status = refused.body, 1, 400
            used = str(weights.add(weight, now))
            headers = {"x-mbx-used-weight": used, "x-mbx-used-weight-1m": used}
            return json_response(document, status, headers)

        return handler

    async def klines(request: Request, now: float) -> tuple[object, int]:
        return _klines(sandbox, listings, request.query_params, now), 2

    async def ticker_price(request: Request, now: float) -> tuple[object, int]:
        asked, single = _asked(listings, request.query_params)
        rows = [price_ticker(sandbox, listing, now) for listing in asked]
        return (rows[0], 2) if single else (rows, 4)

    async def ticker_day(request: Request, now: float) -> tuple[object, int]:
        asked, single = _asked(listings, request.query_params)
        rows = [ticker_24hr(sandbox, listing, now) for listing in asked]
        limited = single or "symbols" in request.query_params
        weight = 2 if limited and len(rows) <= 20 else 40 if limited and len(rows) <= 100 else 80
        return (rows[0] if single else rows), weight

    async def exchange_info(request: Request, now: float) -> tuple[object, int]:
        asked, _ = _asked(listings, request.query_params)
        document = {
            "timezone": "UTC",
            "serverTime": int(now * 1000),
            "rateLimits": RATE_LIMITS,
            "exchangeFilters": [],
            "symbols": [symbol_information(sandbox, listing, now) for listing in asked],
        }
        return document, 20

    async def time(request: Request, now: float) -> tuple[object, int]:
        return {"serverTime": int(now * 1000)}, 1

    async def ping(request: Request, now: float) -> tuple[object, int]:
        return {}, 1

    routes = {
        "klines": klines,
        "ticker/price": ticker_price,
        "ticker/24hr": ticker_day,
        "exchangeInfo": exchange_info,
        "time": time,
        "ping": ping,
    }
    return Dialect("binance", {f"/api/v3/{path}": answered(answer) for path, answer in routes.items()})


def _klines(
    sandbox: Sandbox, listings: Mapping[str, Listing], params: Mapping[str, str], now: float
) -> list[list[Any]]:
    """With a start the oldest rows first, else the newest; the last may be the running candle."""
    symbol, interval = _mandatory(params, "symbol"), _mandatory(params, "interval")
    seconds = INTERVALS.get(interval)
    if seconds is None:
        raise _Refused(-1120, "Invalid interval.")
    listing = _listing(listings, symbol)
    limit = _number(params, "limit", DEFAULT_ROWS)
    if not limit:
        raise _Refused(-1130, "Data sent for parameter 'limit' is not valid.")
    end_ms = _number(params, "endTime", int(now * 1000))
    # A candle belongs to the range if its open time does.
    end = min(int(now), end_ms // 1000) // seconds * seconds + seconds
    first = sandbox.history_start()
    if "startTime" in params:
        first = max(first, -(-_number(params, "startTime", 0) // (seconds * 1000)) * seconds)
    stretch = Stretch(listing.symbol, seconds, first, end, min(limit, MOST_ROWS))
    return [kline(bar, seconds) for bar in _candles(sandbox, stretch, now, newest="startTime" not in params)]


class Stretch(NamedTuple):
    """At most `rows` candles of `seconds` that start in [first, end), epoch seconds on the grid."""

    symbol: str
    seconds: int
    first: int
    end: int
    rows: int


def _candles(sandbox: Sandbox, stretch: Stretch, now: float, *, newest: bool) -> Bars:
    """Reads no more than it must: only where minutes are missing is it more than the rows asked for."""
    symbol, seconds, first, end, rows = stretch
    width = rows * seconds
    while True:
        start, stop = (max(first, end - width), end) if newest else (first, min(end, first + width))
        bars = sandbox.traded(symbol, start, stop, now).resampled(seconds)
        if len(bars) >= rows or width >= end - first:
            return bars.cut(slice(max(0, len(bars) - rows), None) if newest else slice(rows))
        width *= 4


def _asked(listings: Mapping[str, Listing], params: Mapping[str, str]) -> tuple[list[Listing], bool]:
    """The pairs of `symbol` (then one alone), of `symbols`, or all. One unknown name refuses them all."""
    if "symbol" in params and "symbols" in params:
        raise _Refused(-1128, "Combination of optional parameters invalid.")
    if "symbol" in params:
        return [_listing(listings, params["symbol"])], True
    if "symbols" not in params:
        return list(listings.values()), False
    try:
        names = msgspec.json.decode(params["symbols"], type=list[str])
    except msgspec.MsgspecError:
        pattern = '^\\["[A-Z0-9-_.]{1,20}"(,"[A-Z0-9-_.]{1,20}"){0,}\\]$'
        raise _illegal("symbols", pattern) from None
    return [_listing(listings, name) for name in names], False


def _listing(listings: Mapping[str, Listing], id_: str) -> Listing:
    if not re.fullmatch(SYMBOL_PATTERN, id_):
        raise _illegal("symbol", SYMBOL_PATTERN)
    if id_ not in listings:
        raise _Refused(-1121, "Invalid symbol.")
    return listings[id_]


def _mandatory(params: Mapping[str, str], name: str) -> str:
    if not params.get(name):
        raise _Refused(-1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed.")
    return params[name]


def _number(params: Mapping[str, str], name: str, default: int) -> int:
    if name not in params:
        return default
    if not re.fullmatch(NUMBER_PATTERN, params[name], re.ASCII):
        raise _illegal(name, NUMBER_PATTERN)
    return int(params[name])


def _illegal(name: str, pattern: str) -> _Refused:
    return _Refused(-1100, f"Illegal characters found in parameter '{name}'; legal range is '{pattern}'.")
