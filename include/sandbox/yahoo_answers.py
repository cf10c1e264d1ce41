"""The bodies of Yahoo's chart and quote, as recorded ones have them.

Left out are the 52-week figures: the sandbox does not look back a year. All times are UTC and a
trading day is the UTC day, because this market is open round the clock.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from include.sandbox.bars import DAY, MINUTE, Bars
from include.sandbox.market import Listing, Sandbox, Trade

VALID_RANGES = ["1d", "5d", "1mo", "3mo", "6mo", "1y", "2y", "5y", "10y", "ytd", "max"]
EXCHANGE = "SBX"


class Span(NamedTuple):
    """What a chart is asked for: [start, end) in epoch seconds, bars of `interval` seconds."""

    start: int
    end: int
    interval: int
    range: str
    prepost: bool


def chart_body(sandbox: Sandbox, listing: Listing, span: Span, now: float) -> dict[str, Any]:
    """One element of `chart.result`. Prices are doubles that give the market's decimals back."""
    trade = sandbox.last_trade(listing.symbol, now)
    bars = _bars(sandbox, listing.symbol, span, now)
    meta = _meta(sandbox, listing, span, now, trade, bars.price_decimals)
    if not len(bars):
        # A stretch without trading is no error: no timestamps, and an empty quote.
        return {"meta": meta, "indicators": {"quote": [{}]}}
    if span.interval == MINUTE:
        meta["tradingPeriods"] = _trading_periods(span, now)
    columns: dict[str, list[Any]] = {
        name: bars.floats(getattr(bars, name)) for name in ("open", "high", "low", "close")
    }
    columns["volume"] = _volumes(bars, listing)
    timestamps = bars.start.tolist()
    _add_live_row(timestamps, columns, span, now, trade)
    indicators: dict[str, Any] = {"quote": [columns]}
    if span.interval == DAY:
        indicators["adjclose"] = [{"adjclose": columns["close"]}]
    return {"meta": meta, "timestamp": timestamps, "indicators": indicators}


def quote_body(sandbox: Sandbox, listing: Listing, now: float) -> dict[str, Any]:
    """One element of `quoteResponse.result`."""
    trade = sandbox.last_trade(listing.symbol, now)
    today = int(now) - int(now) % DAY
    day = sandbox.traded(listing.symbol, today, int(now) + 1, now)
    meta = _meta(sandbox, listing, Span(today, int(now) + 1, DAY, "1d", False), now, trade, day.price_decimals)
    shared = ("currency", "symbol", "fullExchangeName", "longName", "shortName", "priceHint")
    market_figures = {key: value for key, value in meta.items() if key.startswith("regularMarket")}
    return {
        "language": "en-US",
        "region": "US",
        "quoteType": meta["instrumentType"],
        "quoteSourceName": f"{sandbox.market.description} market",
        "marketState": "REGULAR",
        "exchange": EXCHANGE,
        "exchangeTimezoneName": "UTC",
        "exchangeTimezoneShortName": "UTC",
        "gmtOffSetMilliseconds": 0,
        "exchangeDataDelayedBy": 0,
        "sourceInterval": 15,
        "regularMarketPreviousClose": meta["chartPreviousClose"],
        **{key: meta[key] for key in shared},
        **market_figures,
    }


def _bars(sandbox: Sandbox, symbol: str, span: Span, now: float) -> Bars:
    if span.interval == MINUTE:
        return sandbox.traded(symbol, span.start, span.end, now)
    # A day belongs to the range if it begins in it.
    first = -(-span.start // DAY) * DAY
    return sandbox.traded(symbol, first, -(-span.end // DAY) * DAY, now).resampled(DAY)


def _volumes(bars: Bars, listing: Listing) -> list[int]:
    """Shares; for coins US dollars, as Yahoo counts them."""
    if listing.asset_class == "stock" and not bars.volume_decimals:
        return bars.volume.tolist()  # type: ignore[no-any-return]
    amounts = bars.volume / float(10**bars.volume_decimals)
    if listing.asset_class == "crypto":
        amounts = amounts * np.array(bars.floats(bars.close))
    return np.rint(amounts).astype(np.int64).tolist()  # type: ignore[no-any-return]


def _add_live_row(
    timestamps: list[int], columns: dict[str, list[Any]], span: Span, now: float, trade: Trade | None
) -> None:
    """Where the range reaches now, Yahoo's last row is the running price, off the grid.

    For minutes it is one row more, with volume 0, and may lie after the range's end; for days it is
    today's row under another time.
    """
    running = int(now) - int(now) % MINUTE
    if trade is None or span.end < running:
        return
    if span.interval == DAY:
        if timestamps[-1] == int(now) - int(now) % DAY:
            timestamps[-1] = trade.time
        return
    # A symbol that is quiet in this minute still has the time of its last trade.
    moment = int(now) if trade.minute == running else trade.time
    if moment > timestamps[-1] and moment % MINUTE:
        timestamps.append(moment)
        for name in ("open", "high", "low", "close"):
            columns[name].append(float(trade.price))
        columns["volume"].append(0)


def _meta(
    sandbox: Sandbox, listing: Listing, span: Span, now: float, trade: Trade | None, price_decimals: int
) -> dict[str, Any]:
    today = int(now) - int(now) % DAY
    day = sandbox.traded(listing.symbol, today, int(now) + 1, now).resampled(DAY)
    earlier = sandbox.last_trade(listing.symbol, min(span.start, now) - 1)
    stock = listing.asset_class == "stock"
    return {
        "currency": "USD",
        "symbol": listing.id,
        "exchangeName": EXCHANGE,
        "fullExchangeName": sandbox.market.description,
        "instrumentType": "EQUITY" if stock else "CRYPTOCURRENCY",
        "firstTradeDate": sandbox.history_start(),
        "regularMarketTime": trade.time if trade else None,
        "hasPrePostMarketData": stock,
        "gmtoffset": 0,
        "timezone": "UTC",
        "exchangeTimezoneName": "UTC",
        "regularMarketPrice": float(trade.price) if trade else None,
        "regularMarketDayHigh": day.floats(day.high)[0] if len(day) else None,
        "regularMarketDayLow": day.floats(day.low)[0] if len(day) else None,
        "regularMarketVolume": _volumes(day, listing)[0] if len(day) else 0,
        "longName": listing.name,
        "shortName": listing.name,
        "chartPreviousClose": float(earlier.price) if earlier else None,
        "scale": 3,
        "priceHint": 2 if price_decimals <= 2 else max(4, price_decimals),
        "currentTradingPeriod": _current_period(today),
        "dataGranularity": "1m" if span.interval == MINUTE else "1d",
        "range": span.range,
        "validRanges": VALID_RANGES,
    }


def _period(start: int, end: int) -> dict[str, Any]:
    return {"timezone": "UTC", "start": start, "end": end, "gmtoffset": 0}


def _current_period(today: int) -> dict[str, Any]:
    """A full day of regular trading. Yahoo ends a coin's day at 23:59, by which clients lose a minute."""
    tomorrow = today + DAY
    return {
        "pre": _period(today, today),
        "regular": _period(today, tomorrow),
        "post": _period(tomorrow, tomorrow),
    }


def _trading_periods(span: Span, now: float) -> Any:
    last = min(span.end - 1, int(now))
    days = [_current_period(day) for day in range(span.start - span.start % DAY, last + 1, DAY)]
    kinds = {kind: [[day[kind]] for day in days] for kind in ("pre", "regular", "post")}
    return kinds if span.prepost else kinds["regular"]
