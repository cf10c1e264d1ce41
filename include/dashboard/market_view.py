"""What the page asks the stores, and what it goes on showing while they do not answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal

from include.dashboard.selection import Selection, parse_selection
from include.market.candle import Candle
from include.market.instrument import Instrument
from include.storage.market_reads import CandleReads, DatabaseUnavailable, Price, PriceReads, latest_prices

CANDLES_SENT = 500
COURSE_POINTS = 48


@dataclass(frozen=True, slots=True)
class Board:
    """The watchlist's data as of `now`; `reachable` is false if it is what was known before an outage."""

    now: datetime
    prices: Mapping[str, Price]
    courses: Mapping[str, Sequence[Decimal]]
    reachable: bool

    @property
    def newest(self) -> datetime | None:
        return max((price.as_of for price in self.prices.values()), default=None)


@dataclass(frozen=True, slots=True)
class ChartData:
    """Candles of a selection, oldest first; `reachable` as in Board."""

    candles: Sequence[Candle]
    reachable: bool


class MarketView:
    """Reads for the page. Remembers its last good answers: an outage must not blank the screen."""

    def __init__(
        self,
        instruments: Sequence[Instrument],
        reader: CandleReads,
        cache: PriceReads,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.instruments = tuple(instruments)
        self._symbols = [instrument.symbol for instrument in instruments]
        self._by_symbol = {instrument.symbol: instrument for instrument in instruments}
        self._reader = reader
        self._cache = cache
        self._clock = clock
        self._board = Board(clock(), {}, {}, reachable=True)
        self._charts: dict[Selection, Sequence[Candle]] = {}

    def select(self, search: str | None) -> Selection:
        return parse_selection(search, self._symbols)

    def instrument(self, symbol: str) -> Instrument:
        return self._by_symbol[symbol]

    def board(self) -> Board:
        """Prices and courses now; where a store is down, the part of it that was known last."""
        held = self._board
        board = replace(held, now=self._clock(), reachable=True)
        try:
            board = replace(board, prices={**held.prices, **latest_prices(self._symbols, self._cache, self._reader)})
            board = replace(board, courses=self._reader.sparklines(self._symbols, COURSE_POINTS))
        except DatabaseUnavailable:
            board = replace(board, reachable=False)
        self._board = board
        return board

    def chart(self, selection: Selection) -> ChartData:
        """The newest candles of the selection, or those known last."""
        try:
            candles = self._reader.candles(selection.symbol, selection.timeframe, CANDLES_SENT)
        except DatabaseUnavailable:
            return ChartData(self._charts.get(selection, ()), reachable=False)
        self._charts[selection] = candles
        return ChartData(candles, reachable=True)
