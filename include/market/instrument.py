"""Instruments and the name that each source has for them. Names are looked up, never derived."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from include.errors import SettingsError
from include.market.event import ASSET_CLASSES, AssetClass, Source


@dataclass(frozen=True, slots=True)
class Instrument:
    """`symbol` is canonical (`AAPL`, `BTC-USD`); `ids` has the symbol that each source uses."""

    symbol: str
    asset_class: AssetClass
    name: str
    ids: Mapping[Source, str] = field(hash=False)


class Catalogue:
    """All instruments that the platform knows, by canonical symbol."""

    def __init__(self, instruments: Iterable[Instrument]) -> None:
        self._by_symbol = {instrument.symbol: instrument for instrument in instruments}

    def __contains__(self, symbol: str) -> bool:
        return symbol in self._by_symbol

    def __iter__(self) -> Iterator[Instrument]:
        return iter(self._by_symbol.values())

    def get(self, symbol: str) -> Instrument:
        """Raises SettingsError for a symbol that config/instruments.yaml does not have."""
        try:
            return self._by_symbol[symbol]
        except KeyError:
            raise SettingsError(
                f"{symbol} has no entry in config/instruments.yaml: add one with its source ids"
            ) from None

    def select(self, setting: str, symbols: Iterable[str], asset_class: AssetClass) -> list[Instrument]:
        """The instruments of a comma-list setting, in its order; refuses a wrong one by name."""
        chosen = []
        for symbol in symbols:
            if symbol not in self:
                raise SettingsError(f"{setting}: {symbol} has no entry in config/instruments.yaml")
            instrument = self.get(symbol)
            if instrument.asset_class != asset_class:
                raise SettingsError(f"{setting}: {symbol} is a {instrument.asset_class}, not a {asset_class}")
            chosen.append(instrument)
        return chosen


def parse_catalogue(document: Mapping[str, Any]) -> Catalogue:
    """`{stock: {SYMBOL: {name, ids: {source: id}}}, crypto: {...}}` to instruments."""
    instruments = []
    for asset_class in ASSET_CLASSES:
        for symbol, entry in document.get(asset_class, {}).items():
            ids = cast("dict[Source, str]", {source: str(id_) for source, id_ in entry["ids"].items()})
            instruments.append(Instrument(str(symbol), asset_class, entry["name"], ids))
    return Catalogue(instruments)
