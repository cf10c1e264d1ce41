"""What is asked of Binance, and how it refuses what it cannot take."""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec

from include.sandbox.market import Listing

SYMBOL_PATTERN = "^[A-Z0-9-_.]{1,20}$"
NUMBER_PATTERN = "^[0-9]{1,20}$"
MOST_ROWS = 1000


class Refused(Exception):
    """A question that is a 400; `body` is what the answer says."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.body = {"code": code, "msg": message}


def rows_limit(params: Mapping[str, str], default: int) -> int:
    """`limit`, at most MOST_ROWS."""
    limit = number(params, "limit", default)
    if not limit:
        raise Refused(-1130, "Data sent for parameter 'limit' is not valid.")
    return min(limit, MOST_ROWS)


def asked_for(listings: Mapping[str, Listing], params: Mapping[str, str]) -> tuple[list[Listing], bool]:
    """The pairs of `symbol` (then one alone), of `symbols`, or all. One unknown name refuses them all."""
    if "symbol" in params and "symbols" in params:
        raise Refused(-1128, "Combination of optional parameters invalid.")
    if "symbol" in params:
        return [listing_of(listings, params["symbol"])], True
    if "symbols" not in params:
        return list(listings.values()), False
    try:
        names = msgspec.json.decode(params["symbols"], type=list[str])
    except msgspec.MsgspecError:
        pattern = '^\\["[A-Z0-9-_.]{1,20}"(,"[A-Z0-9-_.]{1,20}"){0,}\\]$'
        raise _illegal("symbols", pattern) from None
    return [listing_of(listings, name) for name in names], False


def listing_of(listings: Mapping[str, Listing], id_: str) -> Listing:
    if not re.fullmatch(SYMBOL_PATTERN, id_):
        raise _illegal("symbol", SYMBOL_PATTERN)
    if id_ not in listings:
        raise Refused(-1121, "Invalid symbol.")
    return listings[id_]


def mandatory(params: Mapping[str, str], name: str) -> str:
    if not params.get(name):
        raise Refused(-1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed.")
    return params[name]


def number(params: Mapping[str, str], name: str, default: int) -> int:
    if name not in params:
        return default
    if not re.fullmatch(NUMBER_PATTERN, params[name], re.ASCII):
        raise _illegal(name, NUMBER_PATTERN)
    return int(params[name])


def _illegal(name: str, pattern: str) -> Refused:
    return Refused(-1100, f"Illegal characters found in parameter '{name}'; legal range is '{pattern}'.")
