"""Binance's dialect: spot market data, keyless. Served intervals go up to one day.

Klines and tickers are what the trades of `tape` add up to; only their quote volume is the volume at the
mean price, and takers have bought half of it. Minutes without a recorded trade have no candle.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from starlette.requests import Request
from starlette.responses import Response

from include.sandbox.bars import DAY, Bars
from include.sandbox.binance_answers import kline, price_ticker, symbol_information, ticker_24hr
from include.sandbox.binance_params import Refused, asked_for, listing_of, mandatory, number, rows_limit
from include.sandbox.binance_streams import binance_streams
from include.sandbox.binance_trades import aggregated_trades, historical_trades, recent_trades
from include.sandbox.dialect import Dialect, Handler, json_response
from include.sandbox.market import Listing, Sandbox
from include.sandbox.tape import trade_count

INTERVALS = {
    "1m": 60, "3m": 180, "5m": 300, "15m": 900, "30m": 1800, "1h": 3600, "2h": 7200, "4h": 14_400,
    "6h": 21_600, "8h": 28_800, "12h": 43_200, "1d": DAY,
}  # fmt: skip
DEFAULT_ROWS = 500
WEIGHT_LIMIT = 6000
RATE_LIMITS = [
    {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": WEIGHT_LIMIT},
    {"rateLimitType": "RAW_REQUESTS", "interval": "MINUTE", "intervalNum": 5, "limit": 61_000},
]


Listings = Mapping[str, Listing]
Params = Mapping[str, str]
#: (document, weight) of a question at a moment, epoch seconds. Raises Refused.
Answer = Callable[[Sandbox, Listings, Params, float], tuple[object, int]]


def dialect(sandbox: Sandbox) -> Dialect:
    """Klines, trades, tickers, exchangeInfo, time and ping, and the streams."""
    listings = {id_: listing for id_, listing in sandbox.listings("binance").items() if listing.asset_class == "crypto"}

    def answered(answer: Answer) -> Handler:
        """The JSON that `answer` gives with its weight; what it refuses is a 400."""

        async def handler(request: Request) -> Response:
            status = 200
            try:
                document, weight = answer(sandbox, listings, request.query_params, sandbox.clock())
            except Refused as refused:
                document, weight, status = refused.body, 1, 400
            request.state.cost = weight
            used = str(request.state.used + weight)
            headers = {"x-mbx-used-weight": used, "x-mbx-used-weight-1m": used}
            return json_response(document, status, headers)

        return handler

    routes = {f"/api/v3/{path}": answered(answer) for path, answer in ANSWERS.items()}
    return Dialect("binance", routes, binance_streams(sandbox, listings))


def _ticker_price(sandbox: Sandbox, listings: Listings, params: Params, now: float) -> tuple[object, int]:
    asked, single = asked_for(listings, params)
    rows = [price_ticker(sandbox, listing, now) for listing in asked]
    return (rows[0], 2) if single else (rows, 4)


def _ticker_day(sandbox: Sandbox, listings: Listings, params: Params, now: float) -> tuple[object, int]:
    asked, single = asked_for(listings, params)
    rows = [ticker_24hr(sandbox, listing, now) for listing in asked]
    limited = single or "symbols" in params
    weight = 2 if limited and len(rows) <= 20 else 40 if limited and len(rows) <= 100 else 80
    return (rows[0] if single else rows), weight


def _exchange_info(sandbox: Sandbox, listings: Listings, params: Params, now: float) -> tuple[object, int]:
    asked, _ = asked_for(listings, params)
    document = {
        "timezone": "UTC",
        "serverTime": int(now * 1000),
        "rateLimits": RATE_LIMITS,
        "exchangeFilters": [],
        "symbols": [symbol_information(sandbox, listing, now) for listing in asked],
    }
    return document, 20


def _klines(sandbox: Sandbox, listings: Listings, params: Params, now: float) -> tuple[object, int]:
    """With a start the oldest rows first, else the newest; the last may be the running candle."""
    symbol, interval = mandatory(params, "symbol"), mandatory(params, "interval")
    seconds = INTERVALS.get(interval)
    if seconds is None:
        raise Refused(-1120, "Invalid interval.")
    listing = listing_of(listings, symbol)
    limit = rows_limit(params, DEFAULT_ROWS)
    end_ms = number(params, "endTime", int(now * 1000))
    # A candle belongs to the range if its open time does.
    end = min(int(now), end_ms // 1000) // seconds * seconds + seconds
    first = sandbox.history_start()
    if "startTime" in params:
        first = max(first, -(-number(params, "startTime", 0) // (seconds * 1000)) * seconds)
    stretch = Stretch(listing.symbol, seconds, first, end, limit)
    bars = _candles(sandbox, stretch, now, newest="startTime" not in params)
    return [kline(bar, seconds, trade_count(sandbox, listing.symbol, bar.start, seconds, now)) for bar in bars], 2


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


ANSWERS: Mapping[str, Answer] = {
    "klines": _klines,
    "trades": lambda *asked: (recent_trades(*asked), 25),
    "historicalTrades": lambda *asked: (historical_trades(*asked), 25),
    "aggTrades": lambda *asked: (aggregated_trades(*asked), 4),
    "ticker/price": _ticker_price,
    "ticker/24hr": _ticker_day,
    "exchangeInfo": _exchange_info,
    "time": lambda sandbox, listings, params, now: ({"serverTime": int(now * 1000)}, 1),
    "ping": lambda sandbox, listings, params, now: ({}, 1),
}
