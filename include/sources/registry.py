"""Which sources there are. A new source is one file of this folder and one line here."""

from __future__ import annotations

from importlib import import_module

from include.market.event import AssetClass, Source
from include.settings import Settings
from include.sources.base import Clock, PriceSource

#: Modules by name, each with `build(settings, clock) -> PriceSource`: naming them keeps the import of
#: one source's client (yfinance takes a second) out of a batch that uses another.
SOURCES: dict[Source, str] = {
    "yahoo": "include.sources.yahoo",
    "binance": "include.sources.binance",
}

#: The source that is asked for an asset class.
PRIMARY: dict[AssetClass, Source] = {"stock": "yahoo", "crypto": "binance"}


def build_source(name: Source, settings: Settings, clock: Clock) -> PriceSource:
    """The source, ready to be asked; it connects at the first question."""
    source: PriceSource = import_module(SOURCES[name]).build(settings, clock)
    return source
