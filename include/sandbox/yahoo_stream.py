"""Yahoo's websocket: a protobuf frame for each trade of what the client has subscribed to."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Mapping
from functools import cache
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import msgspec

from include.sandbox.bars import milliseconds
from include.sandbox.dialect import Stream, StreamHandler, first_of
from include.sandbox.market import Listing, Sandbox
from include.sandbox.tape import TapeTrade, between
from include.sandbox.yahoo_answers import quote_body

POLL_SECONDS = 0.05
QUOTE_TYPES = {"EQUITY": 8, "CRYPTOCURRENCY": 41}
REGULAR_HOURS = 1


class _Asked(msgspec.Struct):
    subscribe: list[str] = []
    unsubscribe: list[str] = []


def yahoo_streams(sandbox: Sandbox, listings: Mapping[str, Listing]) -> dict[str, StreamHandler]:
    """The websocket route. `version=2` wraps each frame in JSON; without it the frame is bare base64."""

    async def stream(stream: Stream) -> None:
        #: Up to when the client was told of each, epoch milliseconds.
        told: dict[str, int] = {}
        wrapped = stream.query_params.get("version") == "2"

        async def listen() -> None:
            while True:
                message = await stream.receive()
                try:
                    asked = msgspec.json.decode(message, type=_Asked)
                except msgspec.DecodeError:
                    # Yahoo says nothing to what it does not understand.
                    continue
                now = milliseconds(sandbox.clock())
                told.update({id_: now for id_ in asked.subscribe if id_ in listings and id_ not in told})
                for id_ in asked.unsubscribe:
                    told.pop(id_, None)

        async def tell() -> None:
            while True:
                await asyncio.sleep(POLL_SECONDS)
                now = milliseconds(sandbox.clock())
                for id_, last in list(told.items()):
                    told[id_] = now
                    for trade in between(sandbox, listings[id_].symbol, last, now):
                        frame = base64.b64encode(pricing(sandbox, listings[id_], trade)).decode()
                        text = msgspec.json.encode({"type": "pricing", "message": frame}).decode() if wrapped else frame
                        await stream.tell(listings[id_].symbol, "price", text)

        await first_of(listen(), tell())

    return {"/stream": stream, "/stream/": stream}


def pricing(sandbox: Sandbox, listing: Listing, trade: TapeTrade) -> bytes:
    """The message of one trade; 32-bit prices, 64-bit times (milliseconds) and volumes of the day so far."""
    quote = quote_body(sandbox, listing, trade.time_ms / 1000)
    before = quote["regularMarketPreviousClose"]
    price = float(trade.price)
    figures = {
        "id": listing.id,
        "price": price,
        "time": trade.time_ms,
        "currency": quote["currency"],
        "exchange": quote["exchange"],
        "quote_type": QUOTE_TYPES[quote["quoteType"]],
        "market_hours": REGULAR_HOURS,
        "day_volume": quote["regularMarketVolume"],
        "day_high": quote["regularMarketDayHigh"],
        "day_low": quote["regularMarketDayLow"],
        "short_name": quote["shortName"],
        "price_hint": quote["priceHint"],
    }
    if before:
        figures |= {"previous_close": before, "change": price - before, "change_percent": (price / before - 1) * 100}
    if listing.asset_class == "stock":
        figures["last_size"] = int(trade.quantity)
    message: bytes = _pricing_data()(**figures).SerializeToString()
    return message


@cache
def _pricing_data() -> Any:
    """The message's class, from yfinance's own file; importing the package would bring pandas and seconds."""
    package = find_spec("yfinance")
    if package is None or package.origin is None:
        raise ModuleNotFoundError("yfinance is not installed")
    spec = spec_from_file_location("pricing_pb2", Path(package.origin).with_name("pricing_pb2.py"))
    if spec is None or spec.loader is None:
        raise ModuleNotFoundError("yfinance has no pricing_pb2.py")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.PricingData
