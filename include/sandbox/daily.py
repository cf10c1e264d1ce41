"""Endless series of daily bars: real ones where the package has them, seeded ones elsewhere."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from bokeh_sampledata import stocks

from include.sandbox.bars import Floats, Ints
from include.sandbox.paths import Day, draws, generator

#: The real prices are not split-adjusted; this is the first day after the last split in the series
#: (AAPL, 28 February 2005), so no day opens at half of yesterday's close.
FIRST_REAL_DAY = "2005-03-01"
#: Trading days from there to the end of the series; the seeded series are as long.
LOOP_DAYS = 2_015
STOCK_PRICE_DECIMALS = 4
CENT = 10 ** (STOCK_PRICE_DECIMALS - 2)
CRYPTO_VOLUME_DECIMALS = 5

#: Canonical symbol to the name in the package's data.
REAL_STOCKS = {"AAPL": "AAPL", "GOOG": "GOOG", "IBM": "IBM", "META": "FB", "MSFT": "MSFT"}

#: Price in USD around which a simulated coin moves, and its daily turnover in millions of USD.
COINS = {
    "BTC-USD": (60_000.0, 1_500.0),
    "ETH-USD": (2_800.0, 900.0),
    "SOL-USD": (150.0, 400.0),
    "BNB-USD": (580.0, 150.0),
    "XRP-USD": (0.58, 250.0),
    "ADA-USD": (0.44, 60.0),
    "DOGE-USD": (0.13, 120.0),
    "AVAX-USD": (29.0, 50.0),
    "DOT-USD": (6.2, 30.0),
    "LINK-USD": (14.5, 40.0),
    "LTC-USD": (78.0, 50.0),
    "BCH-USD": (390.0, 40.0),
    "TRX-USD": (0.14, 30.0),
    "UNI-USD": (8.1, 25.0),
    "ATOM-USD": (7.3, 20.0),
    "XLM-USD": (0.11, 15.0),
    "NEAR-USD": (5.4, 35.0),
    "AAVE-USD": (115.0, 25.0),
    "ETC-USD": (24.0, 20.0),
    "FIL-USD": (4.6, 20.0),
}
UNLISTED_COIN = (1.0, 10.0)


@dataclass(frozen=True, slots=True)
class Series:
    """Days that go round and round; prices in units of 10^-price_decimals, moving by `tick` units."""

    days: tuple[Day, ...]
    price_decimals: int
    volume_decimals: int
    tick: int

    def day(self, index: int) -> Day:
        return self.days[index % len(self.days)]


def stock_series(symbol: str, seed: int) -> Series:
    """Real days of the five stocks that the package has, else seeded ones; volume in shares."""
    days = _real_days(REAL_STOCKS[symbol]) if symbol in REAL_STOCKS else _seeded_stock(symbol, seed)
    return Series(days, STOCK_PRICE_DECIMALS, 0, CENT)


def crypto_series(symbol: str, seed: int) -> Series:
    """Seeded days around the coin's usual price; volume in base currency."""
    level, turnover = COINS.get(symbol, UNLISTED_COIN)
    decimals = 2 if level >= 10 else 3 if level >= 1 else 5
    shares = turnover * 1e6 / level * 10**CRYPTO_VOLUME_DECIMALS
    days = _seeded_days((symbol, seed), level * 10**decimals, 0.028, shares, 1)
    return Series(days, decimals, CRYPTO_VOLUME_DECIMALS, 1)


def _real_days(name: str) -> tuple[Day, ...]:
    series: stocks.StockData = getattr(stocks, name)
    units = 10**STOCK_PRICE_DECIMALS
    rows = zip(
        series["date"], series["open"], series["high"], series["low"], series["close"], series["volume"],
        strict=True,
    )  # fmt: skip
    return tuple(
        Day(round(first * units), round(high * units), round(low * units), round(last * units), volume)
        for date, first, high, low, last, volume in rows
        if date >= FIRST_REAL_DAY
    )


def _seeded_stock(symbol: str, seed: int) -> tuple[Day, ...]:
    random = generator(seed, symbol, "level")
    dollars = int(random.integers(20, 300))
    shares = int(random.integers(2_000_000, 25_000_000))
    return _seeded_days((symbol, seed), float(dollars * 10**STOCK_PRICE_DECIMALS), 0.013, float(shares), CENT)


def _seeded_days(key: tuple[str, int], level: float, volatility: float, volume: float, tick: int) -> tuple[Day, ...]:
    """A closed walk of daily closes, so that going round makes no jump."""
    random = generator("days", *key)
    walk = np.cumsum(draws(random, LOOP_DAYS)) * volatility
    walk -= walk[-1] * np.arange(1, LOOP_DAYS + 1) / LOOP_DAYS
    growth = 1.0 + np.clip(walk, -8.0, 8.0) / 16.0
    # (1 + x/16)^16 stands in for exp(x): multiplications alone are the same on every platform.
    for _ in range(4):
        growth = growth * growth
    closes = np.maximum(np.rint(level * growth / tick), 2).astype(np.int64) * tick
    above, below, busy = (np.abs(draws(random, LOOP_DAYS)) for _ in range(3))
    opens = np.roll(closes, 1)
    highs = np.maximum(opens, closes) + _up_to_tick(closes * above * volatility / 2, tick)
    lows = np.minimum(opens, closes) - _up_to_tick(closes * below * volatility / 2, tick)
    volumes = np.rint(volume * (0.5 + busy)).astype(np.int64)
    columns = (opens, highs, np.maximum(lows, tick), closes, volumes)
    return tuple(Day(*figures) for figures in zip(*(column.tolist() for column in columns), strict=True))


def _up_to_tick(distance: Floats, tick: int) -> Ints:
    return np.multiply(np.ceil(distance / tick).astype(np.int64), tick)
