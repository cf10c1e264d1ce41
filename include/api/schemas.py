"""What the API answers. Decimals are strings, times ISO 8601 in UTC."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import BaseModel, PlainSerializer, WithJsonSchema

from include.market.candle import Candle
from include.market.event import AssetClass, plain
from include.market.instrument import Instrument
from include.market.timeframe import Timeframe
from include.storage.market_reads import Price


def iso(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def figure(value: Decimal) -> str:
    """The exact figure without an exponent or trailing zeros: 101.50000000 is 101.5."""
    text = plain(value)
    return text.rstrip("0").rstrip(".") if "." in text else text


Figure = Annotated[Decimal, PlainSerializer(figure, return_type=str)]
Moment = Annotated[
    datetime,
    PlainSerializer(iso, return_type=str),
    WithJsonSchema({"type": "string", "format": "date-time"}, mode="serialization"),
]
StoreState = Literal["ok", "down"]


class Health(BaseModel):
    status: Literal["ok", "unavailable"]
    market: str
    database: StoreState
    redis: StoreState
    last_candle_at: Moment | None


class InstrumentOut(BaseModel):
    symbol: str
    asset_class: AssetClass
    name: str
    sources: list[str]

    @classmethod
    def of(cls, instrument: Instrument) -> InstrumentOut:
        return cls(
            symbol=instrument.symbol,
            asset_class=instrument.asset_class,
            name=instrument.name,
            sources=list(instrument.ids),
        )


class Instruments(BaseModel):
    market: str
    instruments: list[InstrumentOut]


class PriceOut(BaseModel):
    """`as_of` is when the price was made; `change_pct` is against the last close of the day before."""

    symbol: str
    price: Figure
    event_time: Moment
    as_of: Moment
    source: str
    currency: str | None
    change_pct: float | None

    @classmethod
    def of(cls, price: Price) -> PriceOut:
        return cls(
            symbol=price.symbol,
            price=price.price,
            event_time=price.event_time,
            as_of=price.as_of,
            source=price.source,
            currency=price.currency,
            change_pct=price.change_pct,
        )


class Prices(BaseModel):
    market: str
    prices: list[PriceOut]


class CandleOut(BaseModel):
    """`is_final` is false while later events may still change the candle."""

    window_start: Moment
    open: Figure
    high: Figure
    low: Figure
    close: Figure
    volume: Figure | None
    vwap: Figure | None
    event_count: int
    source: str
    is_final: bool
    updated_at: Moment

    @classmethod
    def of(cls, candle: Candle) -> CandleOut:
        return cls(
            window_start=candle.window_start,
            open=candle.open,
            high=candle.high,
            low=candle.low,
            close=candle.close,
            volume=candle.volume,
            vwap=candle.vwap,
            event_count=candle.event_count,
            source=candle.source,
            is_final=candle.is_final,
            updated_at=candle.updated_at,
        )


class Candles(BaseModel):
    """`next` is the address of the page of older ones, null on the last."""

    market: str
    symbol: str
    interval: Timeframe
    next: str | None
    candles: list[CandleOut]
