"""What every market model offers to the dialects: minutes as a pure function of time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import NamedTuple, Protocol

from include.market.event import ASSET_CLASSES, AssetClass, Source
from include.market.instrument import Catalogue
from include.sandbox.bars import DAY, MINUTE, Bars, milliseconds
from include.sandbox.minute_trades import TRADES_PER_MINUTE, traded_by

#: How far before now the sandbox has anything to tell.
HISTORY_DAYS = 60
#: How far back the last trade of a quiet symbol is looked for, nearest first.
LOOK_BACK = (MINUTE * 60, DAY, DAY * 8, DAY * HISTORY_DAYS)


class Trade(NamedTuple):
    """The last trade: `time` in UTC epoch seconds, `minute` the start of its minute."""

    time: int
    minute: int
    price: Decimal


@dataclass(frozen=True, slots=True)
class Segment:
    """A recorded stretch and where it is replayed; seconds, ends exclusive."""

    recorded_day: str
    recorded_start: int
    recorded_end: int
    shift_seconds: int

    def as_json(self) -> dict[str, str | int]:
        return {
            "recorded_day": self.recorded_day,
            "recorded_start": iso(self.recorded_start),
            "recorded_end": iso(self.recorded_end),
            "replay_start": iso(self.recorded_start + self.shift_seconds),
            "replay_end": iso(self.recorded_end + self.shift_seconds),
            "shift_seconds": self.shift_seconds,
        }


class Market(Protocol):
    """A market model. The same question always has the same answer, also about the future."""

    @property
    def name(self) -> str:
        """`sandbox` or `replay`, as the setting MARKET has it."""

    @property
    def description(self) -> str:
        """One word for the exchange's name."""

    @property
    def start(self) -> int:
        """The wall-clock second at which the model's own clock is anchored."""

    def symbols(self, asset_class: AssetClass) -> tuple[str, ...]:
        """Canonical symbols that this market has."""

    def minutes(self, symbol: str, start: int, end: int) -> Bars:
        """The one-minute bars that start in [start, end), UTC epoch seconds; KeyError for a wrong symbol."""

    def ordinal(self, symbol: str, second: int) -> int:
        """How many minutes of the symbol started before this second, counted from a fixed beginning."""

    def minute_at(self, symbol: str, ordinal: int) -> int:
        """The start of the minute before which so many started: the inverse of `ordinal`."""

    def timeline(self, start: int, end: int) -> Sequence[Segment]:
        """The recorded stretches replayed between the two; none for a simulated market."""


@dataclass(frozen=True, slots=True)
class Listing:
    """One symbol as one source knows it."""

    id: str
    symbol: str
    asset_class: AssetClass
    name: str


@dataclass(frozen=True, slots=True)
class Sandbox:
    """All that a dialect needs: the market, the names and the clock (UTC epoch seconds)."""

    market: Market
    catalogue: Catalogue
    clock: Callable[[], float]
    trades_per_minute: int = TRADES_PER_MINUTE

    def listings(self, source: Source) -> Mapping[str, Listing]:
        """What this source serves, by its own ids. A recorded symbol without an entry in the
        catalogue is a stock, and its id at Yahoo is the symbol."""
        found = {}
        for asset_class in ASSET_CLASSES:
            for symbol in self.market.symbols(asset_class):
                if symbol in self.catalogue:
                    entry = self.catalogue.get(symbol)
                    id_, name = entry.ids.get(source), entry.name
                else:
                    id_, name = symbol if source == "yahoo" else None, symbol
                if id_ is not None:
                    found[id_] = Listing(id_, symbol, asset_class, name)
        return found

    def history_start(self) -> int:
        """Nothing is listed before this midnight."""
        now = int(self.clock())
        return now - now % DAY - HISTORY_DAYS * DAY

    def traded(self, symbol: str, start: int, end: int, now: float) -> Bars:
        """The minutes of [start, end) as they are known at `now`."""
        start = max(start, self.history_start())
        end = max(start, min(end, int(now) + 1))
        return self.market.minutes(symbol, start, end).known_at(now, self.trades_per_minute)

    def last_trade(self, symbol: str, now: float) -> Trade | None:
        """The newest trade at or before `now`; None if the symbol never traded."""
        for span in LOOK_BACK:
            bars = self.traded(symbol, int(now) - span, int(now) + 1, now)
            if len(bars):
                minute = int(bars.start[-1])
                whole = self.market.minutes(symbol, minute, minute + MINUTE).units(0)
                last = traded_by(whole, milliseconds(now) - minute * 1000, self.trades_per_minute)[-1]
                return Trade(minute + last.offset_ms // 1000, minute, bars.price(last.price))
        return None


def iso(seconds: int) -> str:
    """UTC epoch seconds as `2013-10-09T15:30:00Z`."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
