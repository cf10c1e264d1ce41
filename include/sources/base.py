"""The shape that every market source has: a declaration, pure parsers, and two questions it answers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from include.errors import SymbolUnknown
from include.market.event import MICROSECONDS, AssetClass, Kind, MarketEvent, Source
from include.market.instrument import Instrument

#: Says what time it is: UTC epoch microseconds.
Clock = Callable[[], int]

MINUTE_US = 60 * MICROSECONDS


@dataclass(frozen=True, slots=True)
class Declaration:
    """What a source can give; the rest of the platform decides by this, never by the name."""

    name: Source
    asset_classes: tuple[AssetClass, ...]
    kinds: tuple[Kind, ...]
    #: Length of the bars that it gives.
    bar_seconds: int
    #: The answer with the bars also carries the current price: `quotes` would be a second request.
    quotes_with_bars: bool


@dataclass(frozen=True, slots=True)
class Rejected:
    """A fact that cannot become an event; `raw` is what the source sent."""

    raw: bytes
    reason: str
    source: Source
    symbol: str


@dataclass(slots=True)
class FetchResult:
    """`dropped` counts rows that are no fault (open bars, rows without a trade), by reason."""

    events: list[MarketEvent] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)
    dropped: Counter[str] = field(default_factory=Counter)


class PriceSource(Protocol):
    """One market source. Both questions raise the SourceError tree; nothing else for what is sent."""

    @property
    def declaration(self) -> Declaration: ...

    def closed_bars(self, instrument: Instrument, since_us: int, now_us: int) -> FetchResult:
        """Closed bars with `since_us <= start` and `end <= now_us`, in order of time, and, where the
        declaration says `quotes_with_bars`, the current price. A source that has more than it gives at
        once gives the oldest. Raises EmptyRange where it has nothing at all to say.
        """
        ...

    def quotes(self, instruments: Sequence[Instrument], now_us: int) -> FetchResult:
        """The current price of each instrument."""
        ...

    def close(self) -> None: ...


def source_id(instrument: Instrument, source: Source) -> str:
    """The instrument's name at the source. Raises SymbolUnknown where the catalogue has none."""
    try:
        return instrument.ids[source]
    except KeyError:
        raise SymbolUnknown(f"{instrument.symbol} has no {source} id: add it to config/instruments.yaml") from None
