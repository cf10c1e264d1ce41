"""Yahoo's chart: one-minute bars of stocks, and the current price in the same answer.

The request goes through yfinance's data layer (`yahoo_session`); the body is read here and not by
`Ticker.history`, because that one loses what an exact bar needs: it makes a missing volume 0, merges the
live last row into the bar before it, drops rows without a word, hides errors, and does not hand out the
body, which the dead letters keep.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Annotated, Any

import msgspec

from include.errors import (
    AuthStale,
    BadPayload,
    Banned,
    EmptyRange,
    RateLimited,
    SourceError,
    SymbolUnknown,
    Transient,
)
from include.market.event import MAX_AHEAD_US, MAX_DECIMALS, MICROSECONDS, MarketEvent, bar, quote
from include.market.instrument import Instrument
from include.settings import Settings
from include.sources.base import (
    ACTIONS,
    MINUTE_BARS,
    MINUTE_US,
    QUOTES,
    Answer,
    Capability,
    Declaration,
    FetchResult,
    Question,
    RateRule,
    Rejected,
    Want,
    source_id,
)
from include.sources.client import Transport
from include.sources.http import epoch_us, exact, retry_at, server_time_us
from include.sources.strict import decode
from include.sources.yahoo_actions import actions_question, read_actions

#: One request may span 8 days of one-minute bars, 30 days back; one that straddles a limit gets nothing.
SPAN_SECONDS = 8 * 24 * 3600 - 60
DEPTH_US = (30 * 24 * 60 - 10) * MINUTE_US
#: What is asked for where only the price is wanted.
_QUOTE_SECONDS = 300
DECLARATION = Declaration(
    name="yahoo",
    capabilities=(
        Capability(MINUTE_BARS, "stock", carries=(QUOTES,), depth_us=DEPTH_US, is_split_adjusted=True),
        Capability(QUOTES, "stock"),
        Capability(ACTIONS, "stock"),
    ),
    rates=(RateRule("yahoo_calls_per_minute", 60), RateRule("yahoo_calls_per_hour", 3600, default=2_000)),
    # No limit is documented, and no Retry-After comes: addresses were shut out for over a quarter of an hour.
    cooldown_seconds=900,
    base_url="https://query2.finance.yahoo.com",
)

#: Figures stay the text that came: no float stands between Yahoo's digits and ours.
_NULL = msgspec.Raw(b"null")


class _Meta(msgspec.Struct, rename="camel"):
    symbol: str
    price_hint: Annotated[int, msgspec.Meta(ge=0)]
    currency: str | None = None
    data_granularity: str = "1m"
    regular_market_price: msgspec.Raw = _NULL
    regular_market_time: int | None = None
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
    timestamp: list[int] = []


class _Stated(msgspec.Struct):
    code: str = ""
    description: str = ""


class _Part(msgspec.Struct):
    """`chart`, or `finance` where Yahoo refuses before it looks."""

    result: list[_Result] | None = None
    error: _Stated | None = None


class _Body(msgspec.Struct):
    chart: _Part | None = None
    finance: _Part | None = None


class _Period(msgspec.Struct):
    start: int
    end: int


_body = msgspec.json.Decoder(_Body)
#: One row: seconds, open, high, low, close, volume.
_Row = tuple[int, msgspec.Raw, msgspec.Raw, msgspec.Raw, msgspec.Raw, msgspec.Raw]


class YahooSource:
    """See PriceSource."""

    @property
    def declaration(self) -> Declaration:
        return DECLARATION

    @property
    def plan(self) -> str:
        return ""

    def questions(
        self,
        want: Want,
        instruments: Sequence[Instrument],
        since_us: Mapping[str, int],
        now_us: int,
        until_us: int | None = None,
    ) -> list[Question]:
        """One an instrument: the many-symbol endpoint wants a login cookie."""
        if want == MINUTE_BARS:
            return [
                _chart_from(instrument, since_us[instrument.symbol], now_us, until_us) for instrument in instruments
            ]
        if want == QUOTES:
            start = now_us // MICROSECONDS - _QUOTE_SECONDS
            return [_chart_question(QUOTES, instrument, start, now_us) for instrument in instruments]
        if want == ACTIONS:
            return [actions_question(instrument, since_us[instrument.symbol], now_us) for instrument in instruments]
        raise ValueError(f"yahoo is not asked for {want.name}")

    def refusal(self, answer: Answer, now_us: int) -> SourceError | None:
        """By the text of the body, then by the error that it states, then by the status. What a body says
        about the range asked for is left to `read`, which knows the range."""
        said = f"yahoo answered {answer.status}"
        until = retry_at(answer.headers.get("retry-after"), now_us)
        if answer.status == 429 or answer.body[:64].lstrip().startswith((b"Edge: Too Many", b"Too Many Requests")):
            return RateLimited(f"{said}: too many requests", until)
        if answer.body[:1024].lstrip().startswith(b"<"):
            if b"Will be right back" in answer.body:
                return Transient(f"{said}: down for maintenance")
            if b"consent.yahoo.com" in answer.body:
                return AuthStale(f"{said}: a page that asks for consent to cookies")
        if answer.status == 200:
            return None
        try:
            stated = _stated(decode(answer.body, _body), answer.body)
        except ValueError:
            stated = None
        if isinstance(stated, EmptyRange):
            return None
        return stated or _by_status(answer.status, said, until)

    def read(self, question: Question, answer: Answer, now_us: int) -> FetchResult:
        """Bars and price, or the price only. No trading in the range is no error: the chart then has a
        price and no rows."""
        if question.want == ACTIONS:
            return FetchResult(actions=read_actions(question, answer, now_us))
        (instrument,) = question.instruments
        more = _rest(question, now_us)
        try:
            chart = _chart(answer.body, instrument)
        except EmptyRange:
            # Listed later than the stretch: what comes after it is still to be had.
            if more is None:
                raise
            return FetchResult(more=more)
        result = FetchResult(more=more)
        if question.want == MINUTE_BARS:
            # A host clock that runs ahead would take the running minute for a closed one.
            closed_by = min(now_us, server_time_us(answer.headers.get("date"), now_us))
            _read_bars(chart, answer.body, question, closed_by, now_us, result)
        if more is None:
            _read_price(chart.meta, question, now_us, result)
        return result

    def used(self, answer: Answer) -> int | None:
        """Yahoo does not say."""
        return None


def build(settings: Settings) -> YahooSource:
    """The source; no setting changes what it asks."""
    return YahooSource()


def transport() -> Transport:
    """The way to Yahoo. yfinance takes seconds to import: only who asks pays for it."""
    from include.sources.yahoo_session import YahooTransport

    return YahooTransport()


def _chart_from(instrument: Instrument, since_us: int, now_us: int, until_us: int | None = None) -> Question:
    """What is older than Yahoo keeps cannot be had; what is longer than it gives at once comes in stretches."""
    start = max(since_us, now_us - DEPTH_US) // MICROSECONDS
    return _chart_question(MINUTE_BARS, instrument, start, now_us if until_us is None else min(now_us, until_us - 1))


def _chart_question(want: Want, instrument: Instrument, start: int, end_us: int) -> Question:
    params = {
        "period1": str(start),
        # Yahoo refuses an empty range; what lies ahead has no rows.
        "period2": str(min(max(end_us // MICROSECONDS, start) + 1, start + SPAN_SECONDS)),
        "interval": "1m",
        "includePrePost": "false",
    }
    path = f"/v8/finance/chart/{source_id(instrument, 'yahoo')}"
    return Question(want, (instrument,), path, params, start * MICROSECONDS if want == MINUTE_BARS else 0)


def _rest(question: Question, now_us: int) -> Question | None:
    """The stretch after this one, where one request cannot reach until now."""
    if not question.params or _end(question) - int(question.params["period1"]) < SPAN_SECONDS:
        return None
    return _chart_from(question.instruments[0], _end(question) * MICROSECONDS, now_us)


def _end(question: Question) -> int:
    return int(question.params["period2"])


def _stated(decoded: _Body, body: bytes) -> SourceError | None:
    """The error that a body states."""
    for part in (decoded.chart, decoded.finance):
        if part is not None and part.error is not None:
            return _error(part.error, body)
    return None


def _error(error: _Stated, body: bytes) -> SourceError:
    said = f"yahoo: {error.code}: {error.description}"[:300]
    if error.code == "Not Found":
        return SymbolUnknown(said)
    # "Data doesn't exist for startDate" (400) and "1m data not available for startTime" (422).
    if "doesn't exist for startDate" in error.description or "not available for" in error.description:
        return EmptyRange(said)
    if error.code == "Unauthorized" or "Crumb" in error.description or "Cookie" in error.description:
        return AuthStale(said)
    if error.code == "Too Many Requests":
        return RateLimited(said)
    if error.code in ("Bad Request", "Unprocessable Entity"):
        return SourceError(said)
    if error.code in ("Internal Server Error", "Service Unavailable", "Bad Gateway", "Gateway Timeout"):
        return Transient(said)
    return BadPayload(said, body)


def _by_status(status: int, said: str, until: float | None) -> SourceError:
    # 999 is Yahoo's own: "unable to process request at this time", to an address that asked too much.
    if status in (403, 999):
        return Banned(said, until)
    # A redirect leads to the page that asks for consent to cookies.
    if status == 401 or 300 <= status < 400:
        return AuthStale(said)
    if status in (408, 425) or status >= 500:
        return Transient(said)
    return SourceError(said)


def _chart(body: bytes, instrument: Instrument) -> _Result:
    """Raises what the body states, or BadPayload for what is no one-minute chart of this instrument."""
    try:
        decoded = decode(body, _body)
    except ValueError as error:
        raise BadPayload(f"yahoo: not a chart: {error}", body) from error
    stated = _stated(decoded, body)
    if stated is not None:
        raise stated
    if decoded.chart is None or not decoded.chart.result:
        raise BadPayload("yahoo: a chart without a result", body)
    chart = decoded.chart.result[0]
    if chart.meta.symbol.upper() != source_id(instrument, "yahoo").upper():
        raise BadPayload(f"yahoo: asked for {instrument.symbol}, got {chart.meta.symbol[:40]!r}", body)
    if chart.meta.data_granularity != "1m":
        raise BadPayload(f"yahoo: asked for minutes, got {chart.meta.data_granularity[:40]!r}", body)
    return chart


def _read_bars(
    chart: _Result, body: bytes, question: Question, closed_by: int, now_us: int, result: FetchResult
) -> None:
    """A row that is not as documented is rejected alone."""
    (instrument,) = question.instruments
    sessions = _sessions(chart.meta.trading_periods, body)
    for row in _rows(chart, body):
        try:
            start = epoch_us(row[0], "s")
            no_fault = _not_wanted(row, start, question, result.more) or _not_closed(row, sessions, closed_by)
            if no_fault is not None:
                result.dropped[no_fault] += 1
            else:
                result.events.append(_bar(instrument, chart.meta, start, row, now_us))
        except ValueError as error:
            raw = _body_of(chart.meta, row)
            result.rejected.append(Rejected(raw, f"row: {error}", "yahoo", instrument.symbol, question.want.name))


def _rows(chart: _Result, body: bytes) -> list[_Row]:
    quotes = chart.indicators.quote[0]
    columns = (quotes.open, quotes.high, quotes.low, quotes.close, quotes.volume)
    if any(len(column) != len(chart.timestamp) for column in columns):
        raise BadPayload("yahoo: columns of different length", body)
    if chart.timestamp and not chart.meta.currency:
        raise BadPayload("yahoo: prices without a currency", body)
    return list(zip(chart.timestamp, *columns, strict=True))


def _sessions(periods: Any, body: bytes) -> list[_Period]:
    """Regular hours, in seconds. Yahoo nests them one list a day, and by kind where asked for all."""
    if isinstance(periods, dict):
        periods = periods.get("regular")
    try:
        nested = msgspec.convert(periods or [], list[list[_Period]])
    except msgspec.ValidationError as error:
        raise BadPayload(f"yahoo: trading periods: {error}", body) from error
    return [period for day in nested for period in day]


def _not_wanted(row: _Row, start: int, question: Question, more: Question | None) -> str | None:
    """Why a row that may be good is not for this answer."""
    if start < question.since_us:
        return "from before the time asked for"
    if more is not None and row[0] >= _end(question):
        return "left to the next question"
    return None


def _not_closed(row: _Row, sessions: Sequence[_Period], closed_by: int) -> str | None:
    """Why a row is left out that is no fault of the source; None for a closed bar."""
    seconds = row[0]
    if _NULL in row[1:5]:
        return "no prices"
    # Not "still open": a wrong time, for the validation to judge.
    if seconds * MICROSECONDS > closed_by + MAX_AHEAD_US:
        return None
    # The last row is the running price, stamped with the moment it was made.
    if seconds % 60:
        return "live row"
    if seconds * MICROSECONDS + MINUTE_US > closed_by:
        return "still open"
    # The live row of a closed market is stamped with the closing minute; on half days hours come unasked.
    if sessions and not any(period.start <= seconds < period.end for period in sessions):
        return "outside regular hours"
    return None


def _bar(instrument: Instrument, meta: _Meta, start: int, row: _Row, now_us: int) -> MarketEvent:
    """Raises ValueError for a figure that is no number."""
    places = _places(meta)
    opening, high, low, close = [exact(bytes(figure)).quantize(places) for figure in row[1:5]]
    return bar(
        symbol=instrument.symbol,
        asset_class=instrument.asset_class,
        source="yahoo",
        start=start,
        interval_seconds=60,
        prices=(opening, high, low, close),
        volume=_shares(row[5]),
        currency=meta.currency or "",
        ingested_at=now_us,
    )


def _read_price(meta: _Meta, question: Question, now_us: int, result: FetchResult) -> None:
    (instrument,) = question.instruments
    if meta.regular_market_price == _NULL or meta.regular_market_time is None or not meta.currency:
        result.dropped["no price"] += 1
        return
    try:
        event = quote(
            symbol=instrument.symbol,
            asset_class=instrument.asset_class,
            source="yahoo",
            time=epoch_us(meta.regular_market_time, "s"),
            price=exact(bytes(meta.regular_market_price)).quantize(_places(meta)),
            currency=meta.currency,
            ingested_at=now_us,
        )
    except ValueError as error:
        raw = _body_of(meta, None)
        result.rejected.append(Rejected(raw, f"price: {error}", "yahoo", instrument.symbol, question.want.name))
    else:
        result.events.append(event)


def _body_of(meta: _Meta, row: _Row | None) -> bytes:
    """A chart of this row alone, its price without a time and so none; without a row, of the price alone."""
    if row is None:
        part = _Result(meta, _Indicators([_Columns()]))
    else:
        priceless = msgspec.structs.replace(meta, regular_market_time=None)
        part = _Result(priceless, _Indicators([_Columns(*([figure] for figure in row[1:]))]), [row[0]])
    return msgspec.json.encode({"chart": {"result": [part], "error": None}})


def _places(meta: _Meta) -> Decimal:
    """Yahoo widens a 32-bit float (34.099998474121094 is 34.10): its price hint says what was meant."""
    return Decimal(1).scaleb(-min(meta.price_hint, MAX_DECIMALS))


def _shares(figure: msgspec.Raw) -> Decimal | None:
    """A missing volume stays missing: it is not 0."""
    if figure == _NULL:
        return None
    shares = exact(bytes(figure))
    if shares != shares.to_integral_value():
        raise ValueError(f"{shares} is not a number of shares")
    return shares.quantize(Decimal(1))
