"""The one shape in which every fact travels: contract §3. Pure: no I/O, no clock."""

from __future__ import annotations

import re
from decimal import Context, Decimal, Inexact
from typing import Literal, get_args

import msgspec

AssetClass = Literal["stock", "crypto"]
#: In order of preference: the first that can give what is wanted is asked first. Each is the file
#: `include/sources/<name>.py`.
Source = Literal["yahoo", "alpha_vantage", "binance", "coingecko"]
Kind = Literal["bar", "trade", "quote"]

ASSET_CLASSES: tuple[AssetClass, ...] = get_args(AssetClass)
SOURCES: tuple[Source, ...] = get_args(Source)
SCHEMA_VERSION = 1
MICROSECONDS = 1_000_000
MAX_DECIMALS = 8
#: What numeric(18,8) and numeric(28,8) hold before the point.
PRICE_LIMIT = Decimal(10) ** 10
VOLUME_LIMIT = Decimal(10) ** 20
#: An event may lie this far ahead of the clock that judges it, and no further.
MAX_AHEAD_US = 5 * MICROSECONDS
#: Rounding that would lose something raises; what is too large for it is caught by the limits above.
_EXACTLY = Context(prec=60, traps=[Inexact])
_SMALLEST = Decimal(1).scaleb(-MAX_DECIMALS)
#: No figure of an encoded event begins before this: the names and marks in front of the first take more.
_FIGURES_FROM = 100
_encode = msgspec.json.Encoder().encode
_exponent = re.compile(rb"E[+-]").search
_long_fraction = re.compile(rb"\.[0-9]{%d}" % (MAX_DECIMALS + 1)).search


class MarketEvent(msgspec.Struct, frozen=True, kw_only=True):
    """One fact from one source.

    Times are UTC epoch microseconds, prices and volume exact decimals (volume in shares or base
    currency; None where the source does not say). For trade and quote all four prices are equal.
    """

    event_id: str
    symbol: str
    asset_class: AssetClass
    source: Source
    kind: Kind
    event_time: int
    interval_seconds: int
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal | None
    currency: str
    ingested_at: int
    schema_version: int = SCHEMA_VERSION


def bar(
    *,
    symbol: str,
    asset_class: AssetClass,
    source: Source,
    start: int,
    interval_seconds: int,
    prices: tuple[Decimal, Decimal, Decimal, Decimal],
    volume: Decimal | None,
    currency: str,
    ingested_at: int,
) -> MarketEvent:
    """A closed interval. `start` in microseconds, `prices` as (open, high, low, close)."""
    opening, high, low, close = prices
    return MarketEvent(
        event_id=f"{source}:{symbol}:bar{interval_seconds}:{start}",
        symbol=symbol,
        asset_class=asset_class,
        source=source,
        kind="bar",
        event_time=start,
        interval_seconds=interval_seconds,
        open=opening,
        high=high,
        low=low,
        close=close,
        volume=volume,
        currency=currency,
        ingested_at=ingested_at,
    )


def quote(
    *,
    symbol: str,
    asset_class: AssetClass,
    source: Source,
    time: int,
    price: Decimal,
    currency: str,
    ingested_at: int,
) -> MarketEvent:
    """A price at a moment. `time` in microseconds; a quote carries no volume."""
    return MarketEvent(
        event_id=f"{source}:{symbol}:quote:{time}",
        symbol=symbol,
        asset_class=asset_class,
        source=source,
        kind="quote",
        event_time=time,
        interval_seconds=0,
        open=price,
        high=price,
        low=price,
        close=price,
        volume=None,
        currency=currency,
        ingested_at=ingested_at,
    )


def trade(
    *,
    symbol: str,
    asset_class: AssetClass,
    source: Source,
    trade_id: int,
    time: int,
    price: Decimal,
    volume: Decimal,
    currency: str,
    ingested_at: int,
) -> MarketEvent:
    """One trade. `time` in microseconds, `trade_id` the venue's own, `volume` what changed hands."""
    return MarketEvent(
        event_id=f"{source}:{symbol}:trade:{trade_id}",
        symbol=symbol,
        asset_class=asset_class,
        source=source,
        kind="trade",
        event_time=time,
        interval_seconds=0,
        open=price,
        high=price,
        low=price,
        close=price,
        volume=volume,
        currency=currency,
        ingested_at=ingested_at,
    )


def reason_invalid(event: MarketEvent, now_us: int) -> str | None:
    """Why the event must not be published, in words for a person; None if it is valid."""
    prices = (event.open, event.high, event.low, event.close)
    figures = prices if event.volume is None else (*prices, event.volume)
    if not all(figure.is_finite() for figure in figures):
        return "a price or the volume is not finite"
    if not all(map(_fits, figures)):
        return f"more than {MAX_DECIMALS} decimals"
    if min(prices) <= 0:
        return "a price is not above zero"
    if max(prices) >= PRICE_LIMIT or (event.volume is not None and event.volume >= VOLUME_LIMIT):
        return "a price or the volume is larger than the warehouse holds"
    if not event.low <= min(event.open, event.close) <= max(event.open, event.close) <= event.high:
        return "low <= open, close <= high does not hold"
    if event.volume is not None and event.volume < 0:
        return "volume is negative"
    if event.event_time > now_us + MAX_AHEAD_US:
        return "event time lies in the future"
    if event.event_time <= 0:
        return "event time is not after 1970"
    if (event.kind == "bar") != (event.interval_seconds > 0):
        return "interval_seconds does not fit the kind"
    return None


def plain(figure: Decimal) -> str:
    """The figure without an exponent and without idle zeros: 1E-7 is 0.0000001, 1.50 is 1.5."""
    return format(figure.normalize(), "f")


def encode(event: MarketEvent) -> bytes:
    """The Kafka value: JSON, UTF-8, decimals as plain strings of at most MAX_DECIMALS decimals."""
    value = _encode(event)
    # Two quick looks at what was written cost less than a look at each figure beforehand. A symbol that
    # looks like an exponent costs time, no more.
    if _exponent(value, _FIGURES_FROM) is None and _long_fraction(value, _FIGURES_FROM) is None:
        return value
    fields = msgspec.structs.asdict(event)
    for name in ("open", "high", "low", "close", "volume"):
        if fields[name] is not None:
            fields[name] = plain(fields[name])
    return msgspec.json.encode(fields)


def decode(value: bytes) -> MarketEvent:
    """The inverse of `encode`. Raises msgspec.ValidationError or msgspec.DecodeError."""
    return msgspec.json.decode(value, type=MarketEvent)


def _fits(figure: Decimal) -> bool:
    """Whether MAX_DECIMALS decimals say all of it."""
    try:
        figure.quantize(_SMALLEST, context=_EXACTLY)
    except Inexact:
        return False
    return True
