"""Binance spot market data: one-minute klines, current prices and trades, keyless.

https://developers.binance.com/docs/binance-spot-api-docs/rest-api/market-data-endpoints
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import msgspec

from include.errors import (
    BadPayload,
    Banned,
    GeoBlocked,
    RateLimited,
    SourceError,
    SymbolUnknown,
    Transient,
)
from include.market.event import MAX_AHEAD_US, MICROSECONDS, MarketEvent, bar, quote
from include.market.instrument import Instrument
from include.settings import Settings
from include.sources.base import (
    MINUTE_BARS,
    MINUTE_US,
    QUOTES,
    TRADES,
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
from include.sources.http import LONGEST_PAUSE_SECONDS, epoch_us, exact, retry_at, server_time_us
from include.sources.strict import decode

#: `ticker/24hr` weighs 2 for up to 20 pairs, 40 above.
PAIRS_PER_TICKER_CALL = 20
PAGE_ROWS = 1000
DECLARATION = Declaration(
    name="binance",
    capabilities=(
        Capability(MINUTE_BARS, "crypto", cost=2, rows=PAGE_ROWS),
        Capability(QUOTES, "crypto", batch=PAIRS_PER_TICKER_CALL, cost=2),
        Capability(TRADES, "crypto", cost=4),
    ),
    rates=(RateRule("binance_weight_per_minute", 60),),
    unit="weight",
    base_url="https://data-api.binance.vision",
)
#: The quote asset that `exchangeInfo` states for each pair in config/instruments.yaml. Declared, not cut
#: from the pair's name (BTCUSDT, but also USDTTRY), and not asked for: it never changes for a pair.
QUOTE_ASSETS: dict[str, str] = dict.fromkeys(
    (
        *("BTCUSDT", "ETHUSDT", "SOLUSDT", "BNBUSDT", "XRPUSDT", "ADAUSDT", "DOGEUSDT", "AVAXUSDT"),
        *("DOTUSDT", "LINKUSDT", "LTCUSDT", "BCHUSDT", "TRXUSDT", "UNIUSDT", "ATOMUSDT", "XLMUSDT"),
        *("NEARUSDT", "AAVEUSDT", "ETCUSDT", "FILUSDT"),
    ),
    "USDT",
)
_INVALID_SYMBOL = -1121
_TOO_MANY_REQUESTS = -1003
#: Unknown, disconnected, unexpected response, time-out: the documented codes that a later try can cure.
_PASSING = frozenset({-1000, -1001, -1006, -1007, -1008, -1016})
_BANNED_UNTIL = re.compile(r"banned until (\d{13})\b", re.ASCII)


class _Ticker(msgspec.Struct, rename="camel"):
    symbol: str
    last_price: str
    close_time: int
    #: Trades in the 24 hours.
    count: int | None = None


class _Named(msgspec.Struct):
    symbol: str


class _Refusal(msgspec.Struct):
    code: int
    msg: str = ""


_Kline = tuple[int, str, str, str, str, str, int, str, int, str, str, str]
_rows = msgspec.json.Decoder(list[msgspec.Raw])
_kline = msgspec.json.Decoder(_Kline)
_ticker = msgspec.json.Decoder(_Ticker)
_named = msgspec.json.Decoder(_Named)
_refusal = msgspec.json.Decoder(_Refusal)


class BinanceSource:
    """See PriceSource. Trades are asked for by include.sources.binance_trades, and read there."""

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
        """One an instrument for minutes, one for twenty for prices. One unknown pair fails all twenty:
        asked one by one, the others are answered."""
        for instrument in instruments:
            quote_asset(source_id(instrument, "binance"))
        if want == MINUTE_BARS:
            return [_klines_from(instrument, since_us[instrument.symbol], until_us) for instrument in instruments]
        if want == QUOTES:
            batches = range(0, len(instruments), PAIRS_PER_TICKER_CALL)
            return [_tickers(tuple(instruments[first : first + PAIRS_PER_TICKER_CALL])) for first in batches]
        raise ValueError(f"binance is not asked for {want.name} here")

    def refusal(self, answer: Answer, now_us: int) -> SourceError | None:
        """By the code and text in the body first, then by the status."""
        stated = _stated(answer)
        if answer.status == 200 and stated is None:
            return None
        code = stated.code if stated else 0
        said = f"binance answered {answer.status}" + (f" ({code} {stated.msg})" if stated else "")
        until = retry_at(answer.headers.get("retry-after"), now_us) or _banned_until(said, now_us)
        # 403 is the firewall's way of saying "too often".
        if answer.status in (403, 418) or "banned until" in said:
            error: SourceError = Banned(said, until)
        elif code == _TOO_MANY_REQUESTS or answer.status == 429:
            error = RateLimited(said, until)
        elif code == _INVALID_SYMBOL:
            error = SymbolUnknown(said)
        elif answer.status == 451 or "restricted location" in said:
            error = GeoBlocked(f"{said}; set BINANCE_BASE_URL to a host that serves this location")
        elif answer.status >= 500 or code in _PASSING:
            error = Transient(said)
        else:
            error = SourceError(said)
        return error

    def read(self, question: Question, answer: Answer, now_us: int) -> FetchResult:
        if question.want == TRADES:
            from include.sources.binance_trades import read_trades

            return read_trades(question, answer, now_us)
        try:
            rows = decode(answer.body, _rows)
        except ValueError as error:
            raise BadPayload(f"binance: not a list: {error}", answer.body) from error
        if question.want == QUOTES:
            return _quotes(rows, question, now_us)
        # A host clock that runs ahead would take the running minute for a closed one.
        return _bars(rows, question, min(now_us, server_time_us(answer.headers.get("date"), now_us)), now_us)

    def used(self, answer: Answer) -> int | None:
        """The weight of the running minute, for all programs behind this address."""
        for name, value in answer.headers.items():
            if name.lower() == "x-mbx-used-weight-1m" and re.fullmatch("[0-9]{1,9}", value):
                return int(value)
        return None


def build(settings: Settings) -> BinanceSource:
    """The source; no setting changes what it asks."""
    return BinanceSource()


def quote_asset(pair: str) -> str:
    """Raises SymbolUnknown for a pair without a declared quote asset."""
    try:
        return QUOTE_ASSETS[pair]
    except KeyError:
        raise SymbolUnknown(f"{pair}: declare its quote asset in include/sources/binance.py") from None


def _klines_from(instrument: Instrument, since_us: int, until_us: int | None = None) -> Question:
    """With a start time Binance gives the oldest rows first. Its end is inclusive."""
    end = {} if until_us is None else {"endTime": str(until_us // 1_000 - 1)}
    params = {
        "symbol": source_id(instrument, "binance"),
        "interval": "1m",
        "startTime": str(since_us // 1_000),
        "limit": str(PAGE_ROWS),
        **end,
    }
    return Question(MINUTE_BARS, (instrument,), "/api/v3/klines", params, since_us, cost=2)


def _tickers(instruments: tuple[Instrument, ...]) -> Question:
    """`ticker/24hr`, because `ticker/price` has no time and this has one, the source's own, at the same weight."""
    pairs = [source_id(instrument, "binance") for instrument in instruments]
    params = {"symbols": msgspec.json.encode(pairs).decode()}
    return Question(QUOTES, instruments, "/api/v3/ticker/24hr", params, cost=2)


def _stated(answer: Answer) -> _Refusal | None:
    try:
        return decode(answer.body, _refusal)
    except ValueError:
        return None


def _banned_until(message: str, now_us: int) -> float | None:
    """UTC epoch seconds: a ban (418) may come without the header, but its text has the end."""
    stated = _BANNED_UNTIL.search(message)
    return min(int(stated[1]) / 1_000, now_us / MICROSECONDS + LONGEST_PAUSE_SECONDS) if stated else None


def _bars(rows: Sequence[msgspec.Raw], question: Question, server_now_us: int, now_us: int) -> FetchResult:
    """A row that is not as documented is rejected alone: the others are good, and Binance would send the
    same row again with every batch."""
    (instrument,) = question.instruments
    currency = quote_asset(source_id(instrument, "binance"))
    result = FetchResult()
    for raw in rows:
        try:
            event = _bar(_kline.decode(raw), instrument, currency, now_us)
        except ValueError as error:
            result.rejected.append(_rejected(raw, f"kline: {error}", question, instrument.symbol))
            continue
        if event.event_time < question.since_us:
            result.dropped["from before the time asked for"] += 1
        # A start that lies ahead is not "still open" but a wrong time, for the validation to judge.
        elif server_now_us - MINUTE_US < event.event_time <= server_now_us + MAX_AHEAD_US:
            result.dropped["still open"] += 1
        else:
            result.events.append(event)
    if len(rows) >= PAGE_ROWS and not result.dropped["still open"]:
        # So many rows are at least so many minutes, whatever stands in them.
        newest_us = max((event.event_time for event in result.events), default=0)
        next_us = max(newest_us + MINUTE_US, question.since_us + PAGE_ROWS * MINUTE_US)
        end = question.params.get("endTime")
        until_us = None if end is None else (int(end) + 1) * 1_000
        if until_us is None or next_us < until_us:
            result.more = _klines_from(instrument, next_us, until_us)
    return result


def _bar(row: _Kline, instrument: Instrument, currency: str, now_us: int) -> MarketEvent:
    """Raises ValueError for a row that is no one-minute kline."""
    start, end = epoch_us(row[0], "ms", "us"), epoch_us(row[6], "ms", "us")
    if start % MINUTE_US:
        raise ValueError("open time is off the minute grid")
    # The close time is the last unit (ms, or us where the host sends those) before the next open.
    if not MINUTE_US - 1_000 <= end - start < MINUTE_US:
        raise ValueError("close time is not one minute after the open time")
    return bar(
        symbol=instrument.symbol,
        asset_class=instrument.asset_class,
        source="binance",
        start=start,
        interval_seconds=60,
        prices=(exact(row[1]), exact(row[2]), exact(row[3]), exact(row[4])),
        volume=exact(row[5]),
        currency=currency,
        ingested_at=now_us,
    )


def _quotes(rows: Sequence[msgspec.Raw], question: Question, now_us: int) -> FetchResult:
    """24-hour tickers: only the last price, for open, high, low and volume of this answer are a rolling day."""
    by_id = {source_id(instrument, "binance"): instrument for instrument in question.instruments}
    result = FetchResult()
    for raw in rows:
        try:
            instrument = by_id.get(_named.decode(raw).symbol)
        except ValueError as error:
            # Which pair it is about cannot be told.
            result.rejected.append(_rejected(raw, f"ticker: {error}", question, ""))
            continue
        if instrument is None:
            result.dropped["not asked for"] += 1
            continue
        try:
            event = _price_now(_ticker.decode(raw), instrument, now_us)
        except ValueError as error:
            result.rejected.append(_rejected(raw, f"ticker: {error}", question, instrument.symbol))
            continue
        if event is None:
            result.dropped["no trade in 24 hours"] += 1
        else:
            result.events.append(event)
    return result


def _price_now(ticker: _Ticker, instrument: Instrument, now_us: int) -> MarketEvent | None:
    """None for a pair that is not traded (halted, suspended): its last price is not a price of now."""
    if ticker.count == 0:
        return None
    return quote(
        symbol=instrument.symbol,
        asset_class=instrument.asset_class,
        source="binance",
        time=epoch_us(ticker.close_time, "ms", "us"),
        price=exact(ticker.last_price),
        currency=quote_asset(ticker.symbol),
        ingested_at=now_us,
    )


def _rejected(raw: msgspec.Raw, reason: str, question: Question, symbol: str) -> Rejected:
    return Rejected(b"[" + bytes(raw) + b"]", reason, "binance", symbol, question.want.name)
