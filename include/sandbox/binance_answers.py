"""The bodies of Binance's answers: figures as strings with eight decimals, times in milliseconds."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from include.sandbox.bars import DAY, MINUTE, Bars, MinuteBar, scaled
from include.sandbox.market import Listing, Sandbox
from include.sandbox.tape import id_range

EIGHT = Decimal("1E-8")


def kline(bar: MinuteBar, seconds: int, trades: int) -> list[Any]:
    """One candle of `seconds`; the quote volume is the volume at the candle's mean price."""
    mean = (bar.open + bar.high + bar.low + bar.close) / 4
    return [
        bar.start * 1000,
        *(text(price) for price in (bar.open, bar.high, bar.low, bar.close)),
        text(bar.volume),
        (bar.start + seconds) * 1000 - 1,
        text(bar.volume * mean),
        trades,
        text(bar.volume / 2),
        text(bar.volume * mean / 2),
        "0",
    ]


def price_ticker(sandbox: Sandbox, listing: Listing, now: float) -> dict[str, str]:
    """The last price; it has no time."""
    trade = sandbox.last_trade(listing.symbol, now)
    return {"symbol": listing.id, "price": text(trade.price if trade else Decimal(0))}


def ticker_24hr(sandbox: Sandbox, listing: Listing, now: float) -> dict[str, Any]:
    """The rolling 24 hours up to the last trade. No trade at all gives zeros, as at the venue."""
    running = int(now) - int(now) % MINUTE
    bars = sandbox.traded(listing.symbol, running - DAY, int(now) + 1, now)
    trade = sandbox.last_trade(listing.symbol, now)
    last = trade.price if trade else Decimal(0)
    first, high, low = _extremes(bars) if len(bars) else (last, last, last)
    volume = scaled(int(bars.volume.sum()), bars.volume_decimals)
    mean = (first + high + low + last) / 4
    tick = Decimal(1).scaleb(-bars.price_decimals)
    change = last - first
    first_id, count = id_range(sandbox, listing.symbol, running - DAY, int(now) + 1, now)
    close_ms = int(trade.time if trade and trade.minute != running else now) * 1000
    return {
        "symbol": listing.id,
        "priceChange": text(change),
        "priceChangePercent": f"{change / first * 100:.3f}" if first else "0.000",
        "weightedAvgPrice": text(mean),
        "prevClosePrice": text(first),
        "lastPrice": text(last),
        "lastQty": text(volume / 1440),
        "bidPrice": text(last - tick),
        "bidQty": text(volume / 1440),
        "askPrice": text(last + tick),
        "askQty": text(volume / 1440),
        "openPrice": text(first),
        "highPrice": text(high),
        "lowPrice": text(low),
        "volume": text(volume),
        "quoteVolume": text(volume * mean),
        "openTime": close_ms - DAY * 1000,
        "closeTime": close_ms,
        "firstId": first_id if count else -1,
        "lastId": first_id + count - 1 if count else -1,
        "count": count,
    }


def symbol_information(sandbox: Sandbox, listing: Listing, now: float) -> dict[str, Any]:
    """One pair of exchangeInfo; ids are BASE + USDT."""
    decimals = sandbox.market.minutes(listing.symbol, int(now), int(now)).price_decimals
    base = listing.symbol.split("-", maxsplit=1)[0]
    tick = text(Decimal(1).scaleb(-decimals))
    return {
        "symbol": listing.id,
        "status": "TRADING",
        "baseAsset": base,
        "baseAssetPrecision": 8,
        "quoteAsset": listing.id.removeprefix(base),
        "quotePrecision": 8,
        "quoteAssetPrecision": 8,
        "orderTypes": ["LIMIT", "LIMIT_MAKER", "MARKET"],
        "icebergAllowed": False,
        "ocoAllowed": False,
        "isSpotTradingAllowed": True,
        "isMarginTradingAllowed": False,
        "filters": [
            {
                "filterType": "PRICE_FILTER",
                "minPrice": tick,
                "maxPrice": "1000000.00000000",
                "tickSize": tick,
            },
            {
                "filterType": "LOT_SIZE",
                "minQty": text(EIGHT),
                "maxQty": "9000000.00000000",
                "stepSize": text(EIGHT),
            },
        ],
        "permissions": [],
        "permissionSets": [["SPOT"]],
    }


def _extremes(bars: Bars) -> tuple[Decimal, Decimal, Decimal]:
    """First open, high and low of the bars."""
    return (
        bars.price(int(bars.open[0])),
        bars.price(int(bars.high.max())),
        bars.price(int(bars.low.min())),
    )


def text(figure: Decimal) -> str:
    return f"{figure:.8f}"
