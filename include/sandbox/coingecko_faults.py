"""What CoinGecko's answers can be instead of good ones."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

from include.sandbox.faults import Fault, FaultKind, changed, compact, whole
from include.sandbox.transport_faults import CLOCK_FAULTS, TRANSPORT_FAULTS, Place, value_faults

SIMPLE, MARKETS = "/simple/price", "/coins/markets"
TEXT = "text/plain;charset=utf-8"
_LIMIT = {
    "status": {
        "error_code": 429,
        "error_message": "You've exceeded the Rate Limit. Please visit "
        "https://www.coingecko.com/en/api/pricing to subscribe to our API plans for higher rate limits.",
    }
}


def _unauthorized(name: str, line: str, code: int, message: str, *, nested: bool = False) -> FaultKind:
    status = {"status": {"error_code": code, "error_message": message}}
    return whole(name, f"401 {code}, {line}", 401, {"error": status} if nested else status)


def _coins(document: Any, fault: Fault | None = None) -> list[tuple[str, dict[str, Any]]]:
    """(id, its figures) of simple/price; only the fault's symbol where it has one."""
    if not isinstance(document, dict):
        return []
    wanted = None if fault is None else fault.symbol_id
    return [(id_, row) for id_, row in document.items() if isinstance(row, dict) and wanted in (None, id_)]


def _prices(document: Any) -> Iterator[Place]:
    yield from ((row, "usd") for _, row in _coins(document) if "usd" in row)
    if isinstance(document, list):
        yield from ((row, "current_price") for row in document if isinstance(row, dict) and "current_price" in row)


def _unknown(document: Any, fault: Fault) -> None:
    """The fault's symbol, else the first, is left out."""
    for id_, _ in _coins(document, fault)[: None if fault.symbol_id else 1]:
        del document[id_]


def _each(change: Callable[[dict[str, Any]], None]) -> Any:
    def apply(document: Any, fault: Fault) -> None:
        for _, row in _coins(document, fault):
            change(row)

    return apply


def _null_day(row: dict[str, Any]) -> None:
    row.update({key: None for key in row if "24h" in key})


def _updated(change: Callable[[int], int]) -> Any:
    """Changes when a coin's figures were made."""

    def apply(row: dict[str, Any]) -> None:
        if "last_updated_at" in row:
            row["last_updated_at"] = change(row["last_updated_at"])

    return _each(apply)


def _equal_times(document: Any, fault: Fault) -> None:
    """Prices go on and the times stand still at the fault's beginning."""
    for _, row in _coins(document, fault):
        row["last_updated_at"] = int(fault.began)


def _exponents(document: Any, fault: Fault) -> str:
    """`6.7187E+4`: the same figures in the other notation."""
    rows = []
    for id_, row in _coins(document):
        figures = {key: f"{Decimal(str(value)):E}" if isinstance(value, float) else value for key, value in row.items()}
        rows.append(f'"{id_}":' + re.sub(r'"(-?[\d.]+E[+-]\d+)"', r"\1", compact(figures)))
    return "{" + ",".join(rows) + "}"


def _integers(row: dict[str, Any]) -> None:
    row.update({key: round(value) or 1 for key, value in row.items() if isinstance(value, float)})


COINGECKO_FAULTS: tuple[FaultKind, ...] = (
    whole("429", "429 with Retry-After", 429, _LIMIT, {"retry-after": "119"}),
    whole("429-no-header", "429 without Retry-After", 429, _LIMIT),
    _unauthorized("401-10002", "no key", 10002, "API Key Missing"),
    _unauthorized("401-10005", "not in the plan", 10005, "This request is limited to Pro API subscribers."),
    _unauthorized(
        "401-10010", "a demo key at the pro host", 10010, "If you are using Demo API key, please change your root URL."
    ),
    _unauthorized(
        "401-10011", "a pro key at the demo host", 10011, "If you are using Pro API key, please change your root URL."
    ),
    _unauthorized(
        "401-10012", "the range is too long", 10012, "Your request exceeds the allowed time range.", nested=True
    ),
    whole("403-1020", "403 of the content network, text", 403, "error code: 1020", media=TEXT),
    whole("not-found", "404 coin not found", 404, {"error": "coin not found"}),
    changed("unknown-id", "200 and one coin is not in it", _unknown, path=SIMPLE),
    changed("empty-price", "coins without any figure", _each(lambda row: row.clear()), path=SIMPLE),
    changed("null-price", "prices are null", _each(lambda row: row.update(usd=None)), path=SIMPLE),
    changed("null-24h", "the 24-hour figures are null", _each(_null_day), path=SIMPLE),
    changed("old-update", "figures two hours old", _updated(lambda stamp: stamp - 7200), path=SIMPLE),
    changed("integers", "prices without decimals", _each(_integers), path=SIMPLE),
    changed("exponents", "prices in exponent notation", _exponents, path=SIMPLE),
    changed(
        "short-page",
        "a page of markets with one row only",
        lambda rows, _: rows[:1] if isinstance(rows, list) else None,
        path=MARKETS,
    ),
    changed("future-1h", "times an hour ahead", _updated(lambda stamp: stamp + 3600), path=SIMPLE),
    changed("milliseconds", "times in milliseconds, not seconds", _updated(lambda stamp: stamp * 1000), path=SIMPLE),
    changed("equal-times", "prices change, their time does not", _equal_times, path=SIMPLE),
    *value_faults(_prices),
    *CLOCK_FAULTS,
    *TRANSPORT_FAULTS,
)
