"""Alpha Vantage's dialect: one path, the question in its parameters, refusals with status 200.

A key that ends in `-realtime` or `-delayed` is entitled, any other is free. Days are New York's, as all times
here are; a stock's day runs from midnight to midnight, because this market is open round the clock. Left out
are `datatype=csv`, `month`, and the parameters that would change nothing here (`adjusted`, `extended_hours`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from starlette.requests import Request
from starlette.responses import Response

from include.sandbox.alpha_vantage_answers import COMPACT_ROWS, FULL_ROWS, daily, day_start, global_quote, intraday
from include.sandbox.dialect import Dialect, json_response
from include.sandbox.market import Listing, Sandbox

DELAY_SECONDS = 900
INTERVALS = {"1min": 60, "5min": 300, "15min": 900, "30min": 1800, "60min": 3600}
SIZES = {"compact": COMPACT_ROWS, "full": FULL_ROWS}
#: What a key is entitled to, and the `entitlement` that asks for it: seconds behind the market.
DELAYS = {"realtime": 0, "delayed": DELAY_SECONDS}

_SITE = "https://www.alphavantage.co"
_BAD_KEY = {
    "Error Message": "the parameter apikey is invalid or missing. Please claim your free API key on "
    f"({_SITE}/support/#api-key). It should take less than 20 seconds."
}
_DEMO_KEY = {
    "Information": "The **demo** API key is for demo purposes only. Please claim your free API key at "
    f"({_SITE}/support/#api-key) to explore our full API offerings. It takes fewer than 20 seconds."
}
_PREMIUM = {
    "Information": "Thank you for using Alpha Vantage! This is a premium endpoint. You may subscribe to any of the "
    f"premium plans at {_SITE}/premium/ to instantly unlock all premium endpoints"
}
_PREMIUM_SIZE = {
    "Information": "Thank you for using Alpha Vantage! The outputsize=full parameter value is a premium feature for "
    f"this endpoint. You may subscribe to any of the premium plans at {_SITE}/premium/ to instantly unlock it."
}


class Asked(NamedTuple):
    """A question that is answered: what is shown is the market at `shown_at`, epoch seconds."""

    listing: Listing | None
    params: Mapping[str, str]
    plan: str
    entitlement: str
    shown_at: float


def dialect(sandbox: Sandbox) -> Dialect:
    """GLOBAL_QUOTE, TIME_SERIES_INTRADAY and TIME_SERIES_DAILY of stocks."""
    listings = {
        id_: listing for id_, listing in sandbox.listings("alpha_vantage").items() if listing.asset_class == "stock"
    }

    async def query(request: Request) -> Response:
        params = request.query_params
        answer = FUNCTIONS.get(params.get("function", "").upper())
        key = params.get("apikey", "")
        plan = next((plan for plan in DELAYS if key.endswith(f"-{plan}")), "")
        entitlement = params.get("entitlement", "")
        if not key:
            return json_response(_BAD_KEY)
        if key == "demo":
            return json_response(_DEMO_KEY)
        if answer is None or entitlement not in ("", *DELAYS):
            return json_response(_invalid(params))
        if entitlement and (not plan or DELAYS[entitlement] < DELAYS[plan]):
            return json_response(_PREMIUM)
        listing = listings.get(params.get("symbol", "").upper())
        shown_at = _shown_at(sandbox.clock(), entitlement)
        return json_response(answer(sandbox, Asked(listing, params, plan, entitlement, shown_at)))

    return Dialect("alpha_vantage", {"/query": query})


def _shown_at(now: float, entitlement: str) -> float:
    """Without an entitlement it is the last day that is over, whole."""
    return now - DELAYS[entitlement] if entitlement else day_start(now)


def _invalid(params: Mapping[str, str]) -> dict[str, str]:
    function = params.get("function", "")[:40]
    documentation = f"({_SITE}/documentation/)"
    return {
        "Error Message": f"Invalid API call. Please retry or visit the documentation {documentation} for {function}."
    }


def _global_quote(sandbox: Sandbox, asked: Asked) -> object:
    """Nothing in it for a symbol that is unknown, or never traded."""
    root = "Global Quote" + (" - DATA DELAYED BY 15 MINUTES" if asked.entitlement == "delayed" else "")
    figures = None if asked.listing is None else global_quote(sandbox, asked.listing, asked.shown_at)
    return {root: figures or {}}


def _intraday(sandbox: Sandbox, asked: Asked) -> object:
    if not asked.plan:
        return _PREMIUM
    interval = asked.params.get("interval", "")
    rows = SIZES.get(asked.params.get("outputsize", "compact"))
    if asked.listing is None or interval not in INTERVALS or rows is None:
        return _invalid(asked.params)
    return intraday(sandbox, asked.listing, interval, INTERVALS[interval], rows, asked.shown_at)


def _daily(sandbox: Sandbox, asked: Asked) -> object:
    size = asked.params.get("outputsize", "compact")
    if size == "full" and not asked.plan:
        return _PREMIUM_SIZE
    if asked.listing is None or size not in SIZES:
        return _invalid(asked.params)
    return daily(sandbox, asked.listing, SIZES[size], asked.shown_at)


FUNCTIONS: Mapping[str, Callable[[Sandbox, Asked], object]] = {
    "GLOBAL_QUOTE": _global_quote,
    "TIME_SERIES_INTRADAY": _intraday,
    "TIME_SERIES_DAILY": _daily,
}
