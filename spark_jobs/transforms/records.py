"""One record that is not in our producers' own encoding: what it says, or the first rule that it breaks. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Context, Decimal
from typing import Any, get_args

import msgspec

from include.market.event import MAX_DECIMALS, SCHEMA_VERSION, AssetClass, Kind, Source

TEXTS = ("event_id", "symbol", "asset_class", "source", "kind", "currency")
NUMBERS = ("event_time", "interval_seconds", "ingested_at", "schema_version")
PRICES = ("open", "high", "low", "close")
FIGURES = (*PRICES, "volume")
#: The longest names; printable ASCII without a blank is what an index can hold and every page can show.
LENGTHS = {"event_id": 256, "symbol": 64, "currency": 16}
#: What numeric(18,8) and numeric(28,8) hold before the point.
WHOLE_DIGITS = {**dict.fromkeys(PRICES, 10), "volume": 20}

_NAMES = {name: re.compile(rf"[!-~]{{1,{most}}}") for name, most in LENGTHS.items()}
_READABLE = re.compile(r"[!-~]{1,64}")
_DECIMAL = re.compile(r"-?[0-9]{1,64}(\.[0-9]{0,64})?")
_TOO_FINE = re.compile(rf"\.[0-9]{{{MAX_DECIMALS}}}[0-9]*[1-9]")
_LARGEST = 2**63
_PLACES = Decimal(1).scaleb(-MAX_DECIMALS)
_EXACTLY = Context(prec=160)
_json = msgspec.json.Decoder()


def read_record(value: bytes | None, asset_class: AssetClass) -> dict[str, Any]:
    """Its fields, figures as Decimal and times as they came; or `reason`, with symbol and source if readable.

    Judges shape and texts only. Raises nothing, whatever the bytes.
    """
    try:
        text = b"\xff".decode() if value is None else value.decode()
    except UnicodeDecodeError:
        return {"reason": "not UTF-8 text"}
    try:
        found = _json.decode(text)
    except (ValueError, RecursionError):
        return {"reason": "not one JSON object"}
    if not isinstance(found, dict):
        return {"reason": "not one JSON object"}
    reason = next(_broken(found, asset_class), None)
    if reason is not None:
        return {name: found[name] for name in ("symbol", "source") if _is_readable(found.get(name))} | {
            "reason": reason
        }
    fields = {name: found[name] for name in (*TEXTS, *NUMBERS) if name != "schema_version"}
    return fields | {name: _exact(found.get(name)) for name in FIGURES}


def _broken(found: dict[str, Any], asset_class: AssetClass) -> Iterator[str]:
    """The rules that it breaks, first things first. Only the first is sure: later ones may lean on earlier ones."""
    if any(not isinstance(found.get(name), str | None) for name in (*TEXTS, *FIGURES)):
        yield "a name, price or volume is not a JSON string"
    version = found.get("schema_version")
    if _is_whole(version) and version != SCHEMA_VERSION:
        yield f"schema_version {version} is not known here"
    yield from (f"{name} is missing or not a string" for name in TEXTS if found.get(name) is None)
    yield from (f"{name} is missing or not a whole number" for name in NUMBERS if not _is_whole(found.get(name)))
    yield from (f"{name} is not a plain name" for name, plain in _NAMES.items() if not plain.fullmatch(found[name]))
    if found["source"] not in get_args(Source):
        yield "source is not known"
    if found["kind"] not in get_args(Kind):
        yield "kind is not bar, trade or quote"
    if found["asset_class"] != asset_class:
        yield f"asset_class is not {asset_class}, as its topic's"
    for name in FIGURES:
        yield from _broken_by_figure(name, found.get(name))


def _broken_by_figure(name: str, text: str | None) -> Iterator[str]:
    if text is None:
        if name != "volume":
            yield f"{name} is missing or not a decimal string"
    elif not _DECIMAL.fullmatch(text):
        yield f"{name} is not a finite decimal number"
    elif _TOO_FINE.search(text):
        yield f"{name} has more than {MAX_DECIMALS} decimals"
    elif abs(Decimal(text)) >= 10 ** WHOLE_DIGITS[name]:
        yield f"{name} has too many digits"


def _exact(text: str | None) -> Decimal | None:
    return None if text is None else Decimal(text).quantize(_PLACES, context=_EXACTLY)


def _is_whole(number: Any) -> bool:
    return isinstance(number, int) and not isinstance(number, bool) and -_LARGEST <= number < _LARGEST


def _is_readable(name: Any) -> bool:
    return isinstance(name, str) and _READABLE.fullmatch(name) is not None
