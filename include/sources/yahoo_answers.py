"""What Yahoo's chart answers mean: from a body to events or to an error. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Annotated, Any

import msgspec

from include.errors import BadPayload, EmptyRange, RateLimited, SourceError, SymbolUnknown, Transient
from include.market.event import MAX_AHEAD_US, MAX_DECIMALS, MICROSECONDS, MarketEvent, bar, quote
from include.market.instrument import Instrument
from include.sources.base import MINUTE_US, FetchResult, Rejected, source_id
from include.sources.http import epoch_us, exact, retry_at

#: Figures stay the text that came: no float stands between Yahoo's digits and ours.
_NULL = msgspec.Raw(b"null")
_Seconds = Annotated[int, msgspec.Meta(ge=0, le=10**12)]


class _Meta(msgspec.Struct, rename="camel"):
    symbol: str
    price_hint: Annotated[int, msgspec.Meta(ge=0)]
    currency: str | None = None
    regular_market_price: msgspec.Raw = _NULL
    regular_market_time: _Seconds | None = None
    trading_periods: Any = None


class _Columns(msgspec.Struct):
    open: list[msgspec.Raw] = []
    high: list[msgspec.Raw] = []
    low: list[msgspec.Raw] = []
    close: list[msgspec.Raw] = []
    volume: list[msgspec.Raw] = []


class _Indicators(msgspec.Struct):
    quote: Annotated[list[_Columns], msgspec.Meta(min_length=1)]


class _Result(msgspec.Struct):
    meta: _Meta
    indicators: _Indicators
    timestamp: list[_Seconds] = []


class _Stated(msgspec.Struct):
    code: str = ""
    description: str = ""


class _Chart(msgspec.Struct):
    result: list[_Result] | None = None
    error: _Stated | None = None


class _Body(msgspec.Struct):
    chart: _Chart


class _Period(msgspec.Struct):
    start: int
    end: int


_body = msgspec.json.Decoder(_Body)


def parse_chart(body: bytes, instrument: Instrument, since_us: int, now_us: int) -> FetchResult:
    """A one-minute chart to its closed bars from `since_us` on, and the current price as a quote.

    Raises the error that the body states (decided by the body, for the status is not always an
    error's), and BadPayload for what is no chart of this instrument. No trading in the range is no
    error: the chart then has a price and no rows.
    """
    answer = _answer(body, instrument)
    columns = _columns(answer, body)
    sessions = _sessions(answer.meta.trading_periods, body)
    result = FetchResult()
    for seconds, *figures in zip(answer.timestamp, *columns, strict=True):
        start = seconds * MICROSECONDS
        if start < since_us:
            continue
        no_fault = _not_a_closed_bar(seconds, figures, sessions, now_us)
        if no_fault is not None:
            result.dropped[no_fault] += 1
            continue
        try:
            result.events.append(_bar(instrument, answer.meta, start, figures, now_us))
        except ValueError as error:
            raw = b"[%d,%s]" % (seconds, b",".join(map(bytes, figures)))
            result.rejected.append(Rejected(raw, f"row: {error}", "yahoo", instrument.symbol))
    try:
        result.events += _price_now(instrument, answer.meta, now_us)
    except ValueError as error:
        raw = bytes(answer.meta.regular_market_price)
        result.rejected.append(Rejected(raw, f"price: {error}", "yahoo", instrument.symbol))
    return result


def refusal(status: int, retry_after: str | None, body: bytes, now_us: int) -> SourceError | None:
    """The error that an answer stands for; None if the body should be read as a chart."""
    if status == 429 or body.startswith(b"Edge: Too Many Requests"):
        return RateLimited("yahoo asks for fewer calls (429)", until=retry_at(retry_after, now_us))
    if status >= 500:
        return Transient(f"yahoo answered {status}")
    if b"Will be right back" in body:
        return Transient("yahoo is down for maintenance")
    if status == 200:
        return None
    try:
        stated = _body.decode(body).chart.error
    except (msgspec.MsgspecError, ValueError):
        stated = None
    return SourceError(f"yahoo answered {status}") if stated is None else _stated(stated, body)


def _answer(body: bytes, instrument: Instrument) -> _Result:
    try:
        chart = _body.decode(body).chart
    except (msgspec.MsgspecError, ValueError) as error:
        raise BadPayload(f"yahoo: not a chart: {error}", body) from error
    if chart.error is not None:
        raise _stated(chart.error, body)
    if not chart.result:
        raise BadPayload("yahoo: a chart without a result", body)
    answer = chart.result[0]
    if answer.meta.symbol.upper() != source_id(instrument, "yahoo").upper():
        raise BadPayload(f"yahoo: asked for {instrument.symbol}, got {answer.meta.symbol!r}", body)
    return answer


def _columns(answer: _Result, body: bytes) -> list[list[msgspec.Raw]]:
    """Open, high, low, close and volume, parallel to the timestamps."""
    quotes = answer.indicators.quote[0]
    columns = [quotes.open, quotes.high, quotes.low, quotes.close, quotes.volume]
    if any(len(column) != len(answer.timestamp) for column in columns):
        raise BadPayload("yahoo: columns of different length", body)
    if answer.timestamp and not answer.meta.currency:
        raise BadPayload("yahoo: prices without a currency", body)
    return columns


def _stated(error: _Stated, body: bytes) -> SourceError:
    said = f"yahoo: {error.code}: {error.description}"
    if error.code == "Not Found":
        return SymbolUnknown(said)
    # "Data doesn't exist for startDate" (400) and "1m data not available for startTime" (422).
    if "doesn't exist for startDate" in error.description or "not available for" in error.description:
        return EmptyRange(said)
    if error.code in ("Bad Request", "Unprocessable Entity", "Unauthorized"):
        return SourceError(said)
    return BadPayload(said, body)


def _sessions(periods: Any, body: bytes) -> list[_Period]:
    """Regular hours, in seconds. Yahoo nests them one list a day, and by kind where asked for all."""
    if isinstance(periods, dict):
        periods = periods.get("regular")
    try:
        nested = msgspec.convert(periods or [], list[list[_Period]])
    except msgspec.ValidationError as error:
        raise BadPayload(f"yahoo: trading periods: {error}", body) from error
    return [period for day in nested for period in day]


def _not_a_closed_bar(
    seconds: int, figures: Sequence[msgspec.Raw], sessions: Sequence[_Period], now_us: int
) -> str | None:
    """Why a row is left out that is no fault of the source; None for a closed bar."""
    if _NULL in figures[:4]:
        return "no prices"
    # Not "still open": a wrong time, for the validation to judge.
    if seconds * MICROSECONDS > now_us + MAX_AHEAD_US:
        return None
    # The last row is the running price, stamped with the moment it was made.
    if seconds % 60:
        return "live row"
    if seconds * MICROSECONDS + MINUTE_US > now_us:
        return "still open"
    # The live row of a closed market is stamped with the closing minute; on half days hours come unasked.
    if sessions and not any(period.start <= seconds < period.end for period in sessions):
        return "outside regular hours"
    return None


def _bar(
    instrument: Instrument, meta: _Meta, start: int, figures: Sequence[msgspec.Raw], ingested_at: int
) -> MarketEvent:
    """Raises ValueError for a figure that is no number."""
    opening, high, low, close = (_price(figure, meta.price_hint) for figure in figures[:4])
    return bar(
        symbol=instrument.symbol,
        asset_class=instrument.asset_class,
        source="yahoo",
        start=start,
        interval_seconds=60,
        prices=(opening, high, low, close),
        volume=_shares(figures[4]),
        currency=meta.currency or "",
        ingested_at=ingested_at,
    )


def _price_now(instrument: Instrument, meta: _Meta, ingested_at: int) -> list[MarketEvent]:
    if meta.regular_market_price == _NULL or meta.regular_market_time is None or not meta.currency:
        return []
    return [
        quote(
            symbol=instrument.symbol,
            asset_class=instrument.asset_class,
            source="yahoo",
            time=epoch_us(meta.regular_market_time),
            price=_price(meta.regular_market_price, meta.price_hint),
            currency=meta.currency,
            ingested_at=ingested_at,
        )
    ]


def _price(figure: msgspec.Raw, price_hint: int) -> Decimal:
    """Yahoo widens a 32-bit float (34.099998474121094 is 34.10): its price hint says what was meant."""
    return _number(figure).quantize(Decimal(1).scaleb(-min(price_hint, MAX_DECIMALS)))


def _shares(figure: msgspec.Raw) -> Decimal | None:
    """A missing volume stays missing: it is not 0."""
    if figure == _NULL:
        return None
    shares = _number(figure)
    if shares != shares.to_integral_value():
        raise ValueError(f"{shares} is not a number of shares")
    return shares.quantize(Decimal(1))


def _number(figure: msgspec.Raw) -> Decimal:
    return exact(bytes(figure).decode())
