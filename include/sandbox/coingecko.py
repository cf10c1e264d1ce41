"""CoinGecko's dialect: prices, markets, candles and the list of coins, without a key or with any.

Its figures are made once a minute: between, the same answer comes again. Prices are in US dollars only, with
the market's few decimals whatever `precision` says; of simple/price's further figures the market
capitalisation is left out, because the market has none.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from itertools import count

from starlette.requests import Request
from starlette.responses import Response

from include.sandbox.bars import DAY, MINUTE
from include.sandbox.coingecko_answers import market_row, ohlc_rows, simple_price
from include.sandbox.dialect import Dialect, Handler, json_response
from include.sandbox.market import Listing, Sandbox

KEYS = ("x-cg-demo-api-key", "x-cg-pro-api-key")
CALLS_PER_MINUTE, CALLS_PER_MONTH = 30, 10_000
MOST_ROWS, DEFAULT_ROWS = 250, 100
#: The length of a candle by the days that are asked for.
CANDLES = {
    "1": 30 * MINUTE,
    "7": 4 * 3600,
    "14": 4 * 3600,
    "30": 4 * 3600,
    "90": 4 * DAY,
    "180": 4 * DAY,
    "365": 4 * DAY,
}

Listings = Mapping[str, Listing]


class _Refused(Exception):
    def __init__(self, status: int, body: object) -> None:
        super().__init__(body)
        self.status = status
        self.body = body


def dialect(sandbox: Sandbox) -> Dialect:
    """All coins that the market has and the catalogue knows an id of."""
    listings = {
        id_: listing for id_, listing in sandbox.listings("coingecko").items() if listing.asset_class == "crypto"
    }
    calls = count(1)

    def answered(answer: Callable[[Sandbox, Listings, Request, float], object]) -> Handler:
        async def handler(request: Request) -> Response:
            request.state.calls = next(calls)
            now = sandbox.clock()
            try:
                document = answer(sandbox, listings, request, now - now % MINUTE)
            except _Refused as refused:
                return json_response(refused.body, refused.status)
            return json_response(document, headers={"cache-control": "max-age=30, public, must-revalidate"})

        return handler

    return Dialect("coingecko", {path: answered(answer) for path, answer in ANSWERS.items()})


def _ping(sandbox: Sandbox, listings: Listings, request: Request, now: float) -> object:
    return {"gecko_says": "(V3) To the Moon!"}


def _key(sandbox: Sandbox, listings: Listings, request: Request, now: float) -> object:
    """What was used, since the sandbox was started."""
    if not any(request.headers.get(name) or request.query_params.get(name.replace("-", "_")) for name in KEYS):
        raise _Refused(401, {"status": {"error_code": 10002, "error_message": "API Key Missing"}})
    return {
        "plan": "Demo",
        "rate_limit_request_per_minute": CALLS_PER_MINUTE,
        "monthly_call_credit": CALLS_PER_MONTH,
        "current_total_monthly_calls": request.state.calls,
        "current_remaining_monthly_calls": CALLS_PER_MONTH - request.state.calls,
    }


def _simple_price(sandbox: Sandbox, listings: Listings, request: Request, now: float) -> object:
    """Ids that are not known are left out; of a known one those figures that there are."""
    params = request.query_params
    ids, currencies = _list(params, "ids"), _list(params, "vs_currencies")
    shown = {name for name in ("24hr_vol", "24hr_change", "last_updated_at") if params.get(f"include_{name}") == "true"}
    return {
        id_: simple_price(sandbox, listings[id_], shown, now) if "usd" in currencies else {}
        for id_ in ids
        if id_ in listings
    }


def _markets(sandbox: Sandbox, listings: Listings, request: Request, now: float) -> object:
    """A page of the coins that are asked for, or of all."""
    params = request.query_params
    _currency(params)
    asked = _list(params, "ids") if "ids" in params else list(listings)
    rows, page = min(_number(params, "per_page", DEFAULT_ROWS), MOST_ROWS), _number(params, "page", 1)
    ranks = {id_: rank for rank, id_ in enumerate(listings, start=1)}
    known = [id_ for id_ in ranks if id_ in asked][(page - 1) * rows : page * rows]
    return [market_row(sandbox, listings[id_], ranks[id_], now) for id_ in known]


def _ohlc(sandbox: Sandbox, listings: Listings, request: Request, now: float) -> object:
    params = request.query_params
    _currency(params)
    listing = listings.get(request.path_params["id"])
    if listing is None:
        raise _Refused(404, {"error": "coin not found"})
    days = params.get("days", "")
    if days not in CANDLES:
        raise _Refused(
            422, {"error": f"Invalid days parameter, it takes {', '.join(CANDLES)}"} if days else _missing("days")
        )
    return ohlc_rows(sandbox, listing, int(days), CANDLES[days], now)


def _coins_list(sandbox: Sandbox, listings: Listings, request: Request, now: float) -> object:
    return [
        {"id": id_, "symbol": listing.symbol.partition("-")[0].lower(), "name": listing.name}
        for id_, listing in sorted(listings.items())
    ]


def _currency(params: Mapping[str, str]) -> None:
    if _list(params, "vs_currency") != ["usd"]:
        raise _Refused(400, {"error": "invalid vs_currency"})


def _list(params: Mapping[str, str], name: str) -> list[str]:
    """A comma list. Raises _Refused without one."""
    found = [part.strip().lower() for part in params.get(name, "").split(",") if part.strip()]
    if not found:
        raise _Refused(422, _missing(name))
    return found


def _number(params: Mapping[str, str], name: str, default: int) -> int:
    text = params.get(name, "")
    return int(text) if re.fullmatch("[1-9][0-9]{0,5}", text, re.ASCII) else default


def _missing(name: str) -> dict[str, str]:
    return {"error": f"Missing parameter {name}"}


ANSWERS: Mapping[str, Callable[[Sandbox, Listings, Request, float], object]] = {
    "/ping": _ping,
    "/key": _key,
    "/simple/price": _simple_price,
    "/coins/markets": _markets,
    "/coins/list": _coins_list,
    "/coins/{id}/ohlc": _ohlc,
}
