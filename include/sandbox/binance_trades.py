"""Binance's trades over REST: recent ones, and any by id, so that a hole in a stream can be filled."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from include.sandbox.bars import milliseconds
from include.sandbox.binance_answers import text
from include.sandbox.binance_params import Refused, listing_of, mandatory, number, rows_limit
from include.sandbox.market import Listing, Sandbox
from include.sandbox.tape import TapeTrade, between, from_id, newest

DEFAULT_ROWS = 500

Listings = Mapping[str, Listing]
Params = Mapping[str, str]


def recent_trades(sandbox: Sandbox, listings: Listings, params: Params, now: float) -> list[dict[str, Any]]:
    """/trades: the newest, oldest first."""
    listing = listing_of(listings, mandatory(params, "symbol"))
    return [_row(trade) for trade in newest(sandbox, listing.symbol, rows_limit(params, DEFAULT_ROWS), now)]


def historical_trades(sandbox: Sandbox, listings: Listings, params: Params, now: float) -> list[dict[str, Any]]:
    """/historicalTrades: from an id on; without one the newest."""
    if "fromId" not in params:
        return recent_trades(sandbox, listings, params, now)
    listing = listing_of(listings, mandatory(params, "symbol"))
    limit = rows_limit(params, DEFAULT_ROWS)
    return [_row(trade) for trade in from_id(sandbox, listing.symbol, number(params, "fromId", 0), limit, now)]


def aggregated_trades(sandbox: Sandbox, listings: Listings, params: Params, now: float) -> list[dict[str, Any]]:
    """/aggTrades, from an id or a time on: here each trade is an aggregate of its own."""
    listing = listing_of(listings, mandatory(params, "symbol"))
    limit = rows_limit(params, DEFAULT_ROWS)
    timed = "startTime" in params or "endTime" in params
    if "fromId" in params and timed:
        raise Refused(-1128, "Combination of optional parameters invalid.")
    if "fromId" in params:
        first = number(params, "fromId", 0)
        return [aggregate_row(trade) for trade in from_id(sandbox, listing.symbol, first, limit, now)]
    if not timed:
        return [aggregate_row(trade) for trade in newest(sandbox, listing.symbol, limit, now)]
    end_ms = min(milliseconds(now), number(params, "endTime", milliseconds(now)))
    # Both ends are inclusive; a start without an end gives the oldest first, an end alone its last hour.
    start_ms = number(params, "startTime", end_ms - 3_600_000)
    found = between(sandbox, listing.symbol, start_ms - 1, end_ms)
    return [aggregate_row(trade) for trade in (found[:limit] if "startTime" in params else found[-limit:])]


def _row(trade: TapeTrade) -> dict[str, Any]:
    return {
        "id": trade.id,
        "price": text(trade.price),
        "qty": text(trade.quantity),
        "quoteQty": text(trade.price * trade.quantity),
        "time": trade.time_ms,
        "isBuyerMaker": trade.buyer_is_maker,
        "isBestMatch": True,
    }


def aggregate_row(trade: TapeTrade) -> dict[str, Any]:
    return {
        "a": trade.id,
        "p": text(trade.price),
        "q": text(trade.quantity),
        "f": trade.id,
        "l": trade.id,
        "T": trade.time_ms,
        "m": trade.buyer_is_maker,
        "M": True,
    }
