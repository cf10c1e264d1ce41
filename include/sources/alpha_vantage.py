"""Alpha Vantage: prices and daily bars of stocks for any key, one-minute bars for an entitled one.

Errors and limits come with status 200, as text under one of a few names, and may echo the key: nothing
leaves this file without `AlphaVantageSource.redact`. https://www.alphavantage.co/documentation/
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal

import msgspec

from include.errors import (
    AuthStale,
    BadPayload,
    Banned,
    PlanForbidden,
    QuotaExhausted,
    RateLimited,
    SourceError,
    SymbolUnknown,
    Transient,
)
from include.market.calendar import NEW_YORK, midnight_us, session_close_us
from include.market.event import MAX_AHEAD_US, MICROSECONDS, MarketEvent, bar, quote
from include.market.instrument import Instrument
from include.settings import Settings
from include.sources.base import (
    DAILY_BARS,
    END_OF_DAY,
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
from include.sources.http import epoch_us, exact, retry_at, server_time_us
from include.sources.strict import decode

DELAY_SECONDS = 900
DAY_SECONDS = 86_400
_FREE, _DELAYED, _REALTIME = frozenset({"free"}), frozenset({"delayed"}), frozenset({"realtime"})
DECLARATION = Declaration(
    name="alpha_vantage",
    capabilities=(
        Capability(MINUTE_BARS, "stock", plans=_REALTIME),
        Capability(MINUTE_BARS, "stock", plans=_DELAYED, delay_seconds=DELAY_SECONDS),
        Capability(QUOTES, "stock", plans=_REALTIME, carries=(DAILY_BARS,)),
        Capability(QUOTES, "stock", plans=_DELAYED, delay_seconds=DELAY_SECONDS, carries=(DAILY_BARS,)),
        Capability(QUOTES, "stock", plans=_FREE, delay_seconds=END_OF_DAY, carries=(DAILY_BARS,)),
        Capability(DAILY_BARS, "stock", delay_seconds=END_OF_DAY),
    ),
    rates=(RateRule("alpha_vantage_calls_per_minute", 60), RateRule("alpha_vantage_calls_per_day", DAY_SECONDS)),
    key_setting="alpha_vantage_api_key",
    base_url="https://www.alphavantage.co",
)
#: How old a price is at least: one without an entitlement is never of the last 15 minutes.
PRICE_AGE_SECONDS = {"free": DELAY_SECONDS, "delayed": DELAY_SECONDS, "realtime": 0}
ENTITLEMENTS: dict[str, dict[str, str]] = {
    "free": {},
    "delayed": {"entitlement": "delayed"},
    "realtime": {"entitlement": "realtime"},
}
#: Answers do not state one; all instruments of the catalogue trade in New York.
CURRENCY = "USD"
COMPACT_ROWS = 100
#: "Spread out your requests": up to 15 seconds were needed.
BURST_SECONDS = 15
#: Names under which a body says that it is no answer; data beside them is a sample.
_REFUSALS = ("Information", "Note", "Error Message", "message", "detail")
_QUOTE_ROOT, _SERIES_ROOT = "Global Quote", "Time Series (1min)"
_ZONES = ("US/Eastern", "America/New_York")
_UNSTATED = (None, "None", "-", "")
_ECHOED_KEY = re.compile(rb"(?i)(api key as |apikey=)[^\s\"'&,]+")
_REDACTED = b"[redacted]"


class _Quote(msgspec.Struct):
    symbol: str = msgspec.field(name="01. symbol")
    open: str = msgspec.field(name="02. open")
    high: str = msgspec.field(name="03. high")
    low: str = msgspec.field(name="04. low")
    price: str = msgspec.field(name="05. price")
    day: str = msgspec.field(name="07. latest trading day")
    volume: str | None = msgspec.field(name="06. volume", default=None)


class _Meta(msgspec.Struct):
    symbol: str = msgspec.field(name="2. Symbol")
    interval: str = msgspec.field(name="4. Interval")
    zone: str = msgspec.field(name="6. Time Zone")


class _Row(msgspec.Struct):
    open: str = msgspec.field(name="1. open")
    high: str = msgspec.field(name="2. high")
    low: str = msgspec.field(name="3. low")
    close: str = msgspec.field(name="4. close")
    volume: str | None = msgspec.field(name="5. volume", default=None)


_parts = msgspec.json.Decoder(dict[str, msgspec.Raw])
_quote = msgspec.json.Decoder(_Quote)
_meta = msgspec.json.Decoder(_Meta)
_row = msgspec.json.Decoder(_Row)


class AlphaVantageSource:
    """See PriceSource. `session_close` gives when a day's session ends in UTC epoch microseconds, or None
    for a day without one: that day is taken to end at its midnight."""

    def __init__(
        self, api_key: str, plan: str = "free", session_close: Callable[[date], int | None] = session_close_us
    ) -> None:
        self._key = api_key
        self._plan = plan
        self._session_close = session_close

    @property
    def declaration(self) -> Declaration:
        return DECLARATION

    @property
    def plan(self) -> str:
        return self._plan

    def questions(
        self,
        want: Want,
        instruments: Sequence[Instrument],
        since_us: Mapping[str, int],
        now_us: int,
        until_us: int | None = None,
    ) -> list[Question]:
        """One an instrument: no question of ours takes more."""
        if want not in (MINUTE_BARS, QUOTES, DAILY_BARS):
            raise ValueError(f"alpha_vantage is not asked for {want.name}")
        return [
            self._question(want, instrument, since_us[instrument.symbol] if want.seconds else 0, now_us)
            for instrument in instruments
        ]

    def _question(self, want: Want, instrument: Instrument, since_us: int, now_us: int) -> Question:
        params = {"symbol": source_id(instrument, "alpha_vantage"), **ENTITLEMENTS[self._plan]}
        if want == MINUTE_BARS:
            params |= {"function": "TIME_SERIES_INTRADAY", "interval": "1min"}
            params |= {"adjusted": "false", "extended_hours": "false"}
            params["outputsize"] = "compact" if now_us - since_us <= COMPACT_ROWS * MINUTE_US else "full"
        else:
            params["function"] = "GLOBAL_QUOTE"
        secret = {"apikey": self._key}
        return Question(want, (instrument,), "/query", params, since_us, secret_params=secret)

    def refusal(self, answer: Answer, now_us: int) -> SourceError | None:
        """By the text of the body first: most refusals have status 200."""
        text = _stated(answer.body)
        if text is not None:
            said = self.redact(text).decode("utf-8", "replace")[:300]
            # By what was said, and not by what is left of it: `demo` is a key.
            return _by_text(text.decode("utf-8", "replace"), f"alpha_vantage: {said}", now_us / MICROSECONDS)
        if answer.status == 200:
            return None
        said = f"alpha_vantage answered {answer.status}"
        until = retry_at(answer.headers.get("retry-after"), now_us)
        if answer.status == 429:
            return RateLimited(said, until)
        if answer.status == 401:
            return AuthStale(said)
        if answer.status == 403:
            return Banned(said, until)
        if answer.status in (408, 425) or answer.status >= 500:
            return Transient(said)
        return SourceError(said)

    def read(self, question: Question, answer: Answer, now_us: int) -> FetchResult:
        """The price with the day's bar once the day is over, or closed minutes."""
        body = answer.body
        try:
            parts = decode(body, _parts)
        except ValueError as error:
            raise self._bad(str(error), body) from error
        prefix = _SERIES_ROOT if question.want == MINUTE_BARS else _QUOTE_ROOT
        root = next((name for name in parts if name.startswith(prefix)), None)
        if root is None:
            raise self._bad(f"no {prefix!r} in it", body)
        if question.want == MINUTE_BARS:
            server_us = min(now_us, server_time_us(answer.headers.get("date"), now_us))
            return self._minutes(parts, root, question, body, server_us, now_us)
        return self._price_and_day(parts[root], question, body, now_us)

    def used(self, answer: Answer) -> int | None:
        """Alpha Vantage does not say."""
        return None

    def redact(self, text: bytes) -> bytes:
        """The text without the key, ours or one that it says is the caller's."""
        known = text.replace(self._key.encode(), _REDACTED) if self._key else text
        return _ECHOED_KEY.sub(rb"\1" + _REDACTED, known)

    def _price_and_day(self, root: msgspec.Raw, question: Question, body: bytes, now_us: int) -> FetchResult:
        (instrument,) = question.instruments
        result = FetchResult()
        if bytes(root).translate(None, b" \t\r\n") == b"{}":
            raise SymbolUnknown(f"alpha_vantage has no quote of {instrument.symbol}")
        try:
            stated = _quote.decode(root)
            day = _day(stated.day, now_us)
        except ValueError as error:
            result.rejected.append(self._rejected(body, f"quote: {error}", question))
            return result
        if stated.symbol.upper() != source_id(instrument, "alpha_vantage").upper():
            raise self._bad(f"asked for {instrument.symbol}, got {stated.symbol[:40]!r}", body)
        try:
            result.events.append(self._price(stated, day, instrument, now_us))
        except ValueError as error:
            # The day's bar would close at this price.
            result.rejected.append(self._rejected(body, f"price: {error}", question))
            return result
        start_us = midnight_us(day)
        if start_us + DAY_SECONDS * MICROSECONDS > now_us:
            result.dropped["still open"] += 1
        elif start_us < question.since_us:
            result.dropped["from before the time asked for"] += 1
        else:
            try:
                figures = (stated.open, stated.high, stated.low, stated.price)
                result.events.append(_bar(DAILY_BARS, instrument, start_us, figures, stated.volume, now_us))
            except ValueError as error:
                result.rejected.append(self._rejected(body, f"day: {error}", question))
        return result

    def _price(self, stated: _Quote, day: date, instrument: Instrument, now_us: int) -> MarketEvent:
        """Of the session's close, or as old as the plan's prices are while that is still to come."""
        close_us = self._session_close(day) or midnight_us(day + timedelta(days=1))
        return quote(
            symbol=instrument.symbol,
            asset_class=instrument.asset_class,
            source="alpha_vantage",
            time=min(close_us, now_us - PRICE_AGE_SECONDS[self._plan] * MICROSECONDS),
            price=exact(stated.price),
            currency=CURRENCY,
            ingested_at=now_us,
        )

    def _minutes(
        self, parts: Mapping[str, msgspec.Raw], root: str, question: Question, body: bytes, server_us: int, now_us: int
    ) -> FetchResult:
        """Rows come newest first. One that is not as documented is rejected alone."""
        (instrument,) = question.instruments
        try:
            meta = _meta.decode(parts.get("Meta Data", b"{}"))
            rows = _parts.decode(parts[root])
        except ValueError as error:
            raise self._bad(str(error), body) from error
        if meta.symbol.upper() != source_id(instrument, "alpha_vantage").upper():
            raise self._bad(f"asked for {instrument.symbol}, got {meta.symbol[:40]!r}", body)
        if meta.interval != "1min" or meta.zone not in _ZONES:
            raise self._bad(f"asked for minutes of New York, got {meta.interval[:40]!r} of {meta.zone[:40]!r}", body)
        closed_by = server_us - PRICE_AGE_SECONDS[self._plan] * MICROSECONDS
        result = FetchResult()
        for stamp, raw in reversed(rows.items()):
            try:
                start_us = _minute(stamp)
                if start_us < question.since_us:
                    result.dropped["from before the time asked for"] += 1
                # A start that lies ahead is not "still open" but a wrong time, for the validation to judge.
                elif closed_by - MINUTE_US < start_us <= server_us + MAX_AHEAD_US:
                    result.dropped["still open"] += 1
                else:
                    row = _row.decode(raw)
                    figures = (row.open, row.high, row.low, row.close)
                    result.events.append(_bar(MINUTE_BARS, instrument, start_us, figures, row.volume, now_us))
            except ValueError as error:
                alone = msgspec.json.encode({"Meta Data": parts["Meta Data"], root: {stamp: raw}})
                result.rejected.append(self._rejected(alone, f"row {stamp[:40]}: {error}", question))
        return result

    def _rejected(self, raw: bytes, reason: str, question: Question) -> Rejected:
        said = self.redact(reason.encode()).decode()
        return Rejected(self.redact(raw), said, "alpha_vantage", question.instruments[0].symbol, question.want.name)

    def _bad(self, reason: str, body: bytes) -> BadPayload:
        said = self.redact(reason.encode("utf-8", "replace")).decode()
        return BadPayload(f"alpha_vantage: not as documented: {said}", self.redact(body))


def build(settings: Settings) -> AlphaVantageSource:
    """The source with the key and its plan. The markets that stand in never close: their days end at midnight."""
    key = settings.alpha_vantage_api_key
    secret = "" if key is None else key.get_secret_value()
    if settings.market in ("sandbox", "replay"):
        return AlphaVantageSource(secret, settings.alpha_vantage_plan, session_close=lambda day: None)
    return AlphaVantageSource(secret, settings.alpha_vantage_plan)


def _stated(body: bytes) -> bytes | None:
    """What a body says instead of data, or beside it; None if it says nothing."""
    try:
        parts = decode(body, _parts)
    except ValueError:
        return None
    said = [bytes(parts[name]).strip(b'"') for name in _REFUSALS if name in parts]
    return b" ".join(said) if said else None


def _by_text(text: str, said: str, now: float) -> SourceError:
    """The order counts: the burst text names the daily limit too, and all of them praise premium plans.
    `said` goes into the message, `now` is in epoch seconds."""
    lower = text.lower()

    def says(*phrases: str) -> bool:
        return any(phrase in lower for phrase in phrases)

    if says("request per second", "more sparingly", "burst pattern"):
        return RateLimited(said, now + BURST_SECONDS)
    if says("is a premium endpoint", "is a premium feature", "artificial and for illustration"):
        return PlanForbidden(said)
    if says("per minute"):
        return RateLimited(said, now + 60)
    if says("per day"):
        # When the count begins anew is not documented.
        return QuotaExhausted(said, now + DAY_SECONDS)
    if says("apikey is invalid or missing", "for demo purposes only"):
        return AuthStale(f"{said}; set ALPHA_VANTAGE_API_KEY")
    if says("invalid api call"):
        return SymbolUnknown(said)
    return SourceError(said)


def _bar(
    want: Want,
    instrument: Instrument,
    start_us: int,
    figures: tuple[str, str, str, str],
    volume: str | None,
    now_us: int,
) -> MarketEvent:
    """Raises ValueError for a figure that is no number."""
    first, high, low, last = figures
    return bar(
        symbol=instrument.symbol,
        asset_class=instrument.asset_class,
        source="alpha_vantage",
        start=start_us,
        interval_seconds=want.seconds,
        prices=(exact(first), exact(high), exact(low), exact(last)),
        volume=_shares(volume),
        currency=CURRENCY,
        ingested_at=now_us,
    )


def _shares(figure: str | None) -> Decimal | None:
    """A volume that is not stated stays so: it is not 0."""
    if figure in _UNSTATED or figure is None:
        return None
    shares = exact(figure)
    if shares != shares.to_integral_value():
        raise ValueError(f"{shares} is not a number of shares")
    return shares


def _day(text: str, now_us: int) -> date:
    """`2026-01-02`. Raises ValueError for any other notation, and for a day that has not begun."""
    day = date.fromisoformat(text)
    if day.isoformat() != text:
        raise ValueError(f"{text!r} is not a day")
    epoch_us(midnight_us(day) // MICROSECONDS, "s")
    if midnight_us(day) > now_us + MAX_AHEAD_US:
        raise ValueError(f"the trading day {text} has not begun")
    return day


def _minute(text: str) -> int:
    """`2026-01-02 19:59:00` in New York, to UTC epoch microseconds.

    Raises ValueError for any other notation, and for the hour that the clocks skip in March or go through
    twice in November: nothing in a row says which of the two it means.
    """
    naive = datetime.fromisoformat(text)
    if naive.tzinfo is not None or str(naive) != text:
        raise ValueError("not a time of day in New York")
    if naive.second:
        raise ValueError("off the minute grid")
    local = naive.replace(tzinfo=NEW_YORK)
    if local.utcoffset() != local.replace(fold=1).utcoffset():
        raise ValueError("the clocks change: the time stands for two moments, or for none")
    return epoch_us(int(local.timestamp()), "s")
