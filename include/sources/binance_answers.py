"""What Binance's answers mean: from a body to events or to an error. Pure.

https://developers.binance.com/docs/binance-spot-api-docs/rest-api/market-data-endpoints
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec

from include.errors import BadPayload, GeoBlocked, RateLimited, SourceError, SymbolUnknown, Transient
from include.market.event import MAX_AHEAD_US, MarketEvent, bar, quote
from include.market.instrument import Instrument
from include.sources.base import MINUTE_US, FetchResult, Rejected, source_id
from include.sources.http import epoch_us, exact, retry_at

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
_BANNED_UNTIL = re.compile(r"banned until (\d{13})")


class _Ticker(msgspec.Struct, rename="camel"):
    symbol: str
    last_price: str
    close_time: int


class _Refusal(msgspec.Struct):
    code: int
    msg: str = ""


_Kline = tuple[int, str, str, str, str, str, int, str, int, str, str, str]
_rows = msgspec.json.Decoder(list[msgspec.Raw])
_kline = msgspec.json.Decoder(_Kline)
_ticker = msgspec.json.Decoder(_Ticker)
_refusal = msgspec.json.Decoder(_Refusal)


def parse_klines(body: bytes, instrument: Instrument, server_now_us: int, ingested_at: int) -> FetchResult:
    """One-minute klines to closed bars. Raises BadPayload if the body is not a list of rows.

    A row that is not as documented is rejected alone: the others are good, and Binance would send the
    same row again with every batch.
    """
    result = FetchResult()
    for raw in _split(body):
        try:
            event = _closed_bar(_kline.decode(raw), instrument, server_now_us, ingested_at)
        except (msgspec.MsgspecError, ValueError) as error:
            result.rejected.append(Rejected(bytes(raw), f"kline: {error}", "binance", instrument.symbol))
        else:
            if event is None:
                result.dropped["still open"] += 1
            else:
                result.events.append(event)
    return result


def parse_tickers(body: bytes, by_id: Mapping[str, Instrument], ingested_at: int) -> FetchResult:
    """24-hour tickers to quotes; `by_id` has the instruments by pair. Raises BadPayload."""
    result = FetchResult()
    for raw in _split(body):
        try:
            ticker = _ticker.decode(raw)
        except (msgspec.MsgspecError, ValueError) as error:
            # Which pair it is about cannot be told, or not believed.
            result.rejected.append(Rejected(bytes(raw), f"ticker: {error}", "binance", ""))
            continue
        instrument = by_id.get(ticker.symbol)
        if instrument is None:
            result.dropped["not asked for"] += 1
            continue
        try:
            # Only the last price: open, high, low and volume of this answer are a rolling day.
            price, time = exact(ticker.last_price), epoch_us(ticker.close_time)
        except ValueError as error:
            result.rejected.append(Rejected(bytes(raw), f"ticker: {error}", "binance", instrument.symbol))
            continue
        result.events.append(
            quote(
                symbol=instrument.symbol,
                asset_class=instrument.asset_class,
                source="binance",
                time=time,
                price=price,
                currency=quote_asset(ticker.symbol),
                ingested_at=ingested_at,
            )
        )
    return result


def refusal(status: int, retry_after: str | None, body: bytes, now_us: int) -> SourceError | None:
    """The error that an answer stands for: by the code in the body, then by the status; None if good."""
    try:
        stated = _refusal.decode(body)
    except (msgspec.MsgspecError, ValueError):
        stated = None
    if status == 200 and stated is None:
        return None
    code = stated.code if stated else 0
    said = f"binance answered {status}" + (f" ({code} {stated.msg})" if stated else "")
    # 403 is the firewall's way of saying "too often".
    if code == _TOO_MANY_REQUESTS or status in (403, 418, 429):
        return RateLimited(said, until=retry_at(retry_after, now_us) or _banned_until(said))
    if code == _INVALID_SYMBOL:
        return SymbolUnknown(said)
    if status == 451:
        return GeoBlocked(f"{said}; set BINANCE_BASE_URL to a host that serves this location")
    if status >= 500 or code in _PASSING:
        return Transient(said)
    return SourceError(said)


def quote_asset(pair: str) -> str:
    """Raises SymbolUnknown for a pair without a declared quote asset."""
    try:
        return QUOTE_ASSETS[pair]
    except KeyError:
        raise SymbolUnknown(f"{pair}: declare its quote asset in include/sources/binance_answers.py") from None


def _banned_until(message: str) -> float | None:
    """UTC epoch seconds: a ban (418) may come without the header, but its text has the end."""
    stated = _BANNED_UNTIL.search(message)
    return int(stated[1]) / 1_000 if stated else None


def _split(body: bytes) -> list[msgspec.Raw]:
    try:
        return _rows.decode(body)
    except (msgspec.MsgspecError, ValueError) as error:
        raise BadPayload(f"binance: not a list: {error}", body) from error


def _closed_bar(row: _Kline, instrument: Instrument, server_now_us: int, at: int) -> MarketEvent | None:
    """None while the minute runs. Raises ValueError for a row that is no one-minute kline."""
    start, end = epoch_us(row[0]), epoch_us(row[6])
    if start % MINUTE_US:
        raise ValueError("open time is off the minute grid")
    # The close time is the last unit (ms, or us where the host sends those) before the next open.
    if not MINUTE_US - 1_000 <= end - start < MINUTE_US:
        raise ValueError("close time is not one minute after the open time")
    prices = (exact(row[1]), exact(row[2]), exact(row[3]), exact(row[4]))
    volume = exact(row[5])
    # A start that lies ahead is not "still open" but a wrong time, for the validation to judge.
    if start <= server_now_us + MAX_AHEAD_US and end >= server_now_us:
        return None
    return bar(
        symbol=instrument.symbol,
        asset_class=instrument.asset_class,
        source="binance",
        start=start,
        interval_seconds=60,
        prices=prices,
        volume=volume,
        currency=quote_asset(source_id(instrument, "binance")),
        ingested_at=at,
    )
