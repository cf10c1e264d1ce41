"""The bodies of CoinGecko's answers: figures are numbers, volumes the last 24 hours' in US dollars."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, NamedTuple

import numpy as np

from include.sandbox.bars import DAY, MINUTE
from include.sandbox.market import Listing, Sandbox, iso


class _Day(NamedTuple):
    """The last 24 hours; all None without a trade in them."""

    first: float | None
    high: float | None
    low: float | None
    turnover: float | None


def simple_price(sandbox: Sandbox, listing: Listing, shown: Collection[str], now: float) -> dict[str, Any]:
    """One coin: its price with those of `24hr_vol`, `24hr_change`, `last_updated_at` that are `shown`.

    Nothing at all for a coin without a trade.
    """
    trade = sandbox.last_trade(listing.symbol, now)
    if trade is None:
        return {}
    price, day = float(trade.price), _day(sandbox, listing, now)
    figures = {
        "24hr_vol": ("usd_24h_vol", day.turnover),
        "24hr_change": ("usd_24h_change", _percent(price, day.first)),
        "last_updated_at": ("last_updated_at", trade.time),
    }
    return {"usd": price} | dict(figure for name, figure in figures.items() if name in shown)


def market_row(sandbox: Sandbox, listing: Listing, rank: int, now: float) -> dict[str, Any]:
    """One row of coins/markets. What the market does not have (supply, capitalisation, records) is null."""
    trade = sandbox.last_trade(listing.symbol, now)
    day = _day(sandbox, listing, now)
    price = None if trade is None else float(trade.price)
    return {
        "id": listing.id,
        "symbol": listing.symbol.partition("-")[0].lower(),
        "name": listing.name,
        "image": "",
        "current_price": price,
        "market_cap": None,
        "market_cap_rank": rank,
        "fully_diluted_valuation": None,
        "total_volume": day.turnover,
        "high_24h": day.high,
        "low_24h": day.low,
        "price_change_24h": None if price is None or day.first is None else price - day.first,
        "price_change_percentage_24h": None if price is None else _percent(price, day.first),
        "market_cap_change_24h": None,
        "market_cap_change_percentage_24h": None,
        "circulating_supply": None,
        "total_supply": None,
        "max_supply": None,
        "ath": None,
        "ath_change_percentage": None,
        "ath_date": None,
        "atl": None,
        "atl_change_percentage": None,
        "atl_date": None,
        "roi": None,
        "last_updated": None if trade is None else iso(trade.time).replace("Z", ".000Z"),
    }


def ohlc_rows(sandbox: Sandbox, listing: Listing, days: int, seconds: int, now: float) -> list[list[float]]:
    """`[end in ms, open, high, low, close]`, oldest first; the last candle is the running one."""
    first = (int(now) - days * DAY) // seconds * seconds
    bars = sandbox.traded(listing.symbol, first, int(now) + 1, now).resampled(seconds)
    columns = (bars.floats(column) for column in (bars.open, bars.high, bars.low, bars.close))
    return [[(start + seconds) * 1000, *prices] for start, *prices in zip(bars.start.tolist(), *columns, strict=True)]


def _day(sandbox: Sandbox, listing: Listing, now: float) -> _Day:
    running = int(now) - int(now) % MINUTE
    bars = sandbox.traded(listing.symbol, running - DAY, int(now) + 1, now)
    if not len(bars):
        return _Day(None, None, None, None)
    turnover = np.array(bars.floats(bars.close)) @ (bars.volume / float(10**bars.volume_decimals))
    first, high, low = (float(bars.price(int(units))) for units in (bars.open[0], bars.high.max(), bars.low.min()))
    return _Day(first, high, low, round(float(turnover), 2))


def _percent(price: float, before: float | None) -> float | None:
    return None if before is None else round((price / before - 1) * 100, 5)
