"""What the page asks the stores, and what it goes on showing while they do not answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from math import ceil

from include.dashboard.selection import Selection, parse_selection
from include.market.candle import Candle
from include.market.instrument import Instrument
from include.market.timeframe import BASE, TIMEFRAME_SECONDS, is_stored
from include.storage.chart_reads import MarkReads, Marks
from include.storage.market_reads import CandleReads, DatabaseUnavailable, Price, PriceReads, latest_prices

CANDLES_SENT = 500
#: Of one figure, however far its range reaches.
MOST_CANDLES = 2_500
#: What is shown on while the database is away: the charts that were asked for last.
CHARTS_KEPT = 64
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
    """Candles of a selection, oldest first, and what is drawn over them; `reachable` as in Board.

    `is_live`: the newest candle is among them, so that what comes goes on from there.
    """

    candles: Sequence[Candle]
    reachable: bool
    marks: Marks = field(default_factory=Marks)
    is_live: bool = True


class MarketView:
    """Reads for the page. Remembers its last good answers: an outage must not blank the screen."""

    def __init__(
        self,
        instruments: Sequence[Instrument],
        reader: CandleReads,
        cache: PriceReads,
        mark_reader: MarkReads,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.instruments = tuple(instruments)
        self._symbols = [instrument.symbol for instrument in instruments]
        self._by_symbol = {instrument.symbol: instrument for instrument in instruments}
        self._reader = reader
        self._cache = cache
        self._mark_reader = mark_reader
        self._clock = clock
        self._board = Board(clock(), {}, {}, reachable=True)
        self._charts: dict[Selection, ChartData] = {}

    @property
    def symbols(self) -> tuple[str, ...]:
        return tuple(self._symbols)

    @property
    def last_board(self) -> Board:
        """As it was read or heard of last; asks nobody."""
        return self._board

    def learn(self, price: Price) -> None:
        """A price that was announced."""
        self._board = replace(self._board, prices={**self._board.prices, price.symbol: price})

    def select(self, search: str | None) -> Selection:
        return parse_selection(search, self._symbols)

    def instrument(self, symbol: str) -> Instrument:
        return self._by_symbol[symbol]

    def board(self) -> Board:
        """Prices and courses now; where a store is down, the part of it that was known last."""
        board = self.refreshed()
        if not board.reachable:
            return board
        try:
            board = replace(board, courses=self._reader.sparklines(self._symbols, COURSE_POINTS))
        except DatabaseUnavailable:
            board = replace(board, reachable=False)
        self._board = board
        return board

    def refreshed(self) -> Board:
        """Prices now, with the courses that were read last."""
        held = self._board
        board = replace(held, now=self._clock(), reachable=True)
        try:
            board = replace(board, prices={**held.prices, **latest_prices(self._symbols, self._cache, self._reader)})
        except DatabaseUnavailable:
            board = replace(board, reachable=False)
        self._board = board
        return board

    def chart(self, selection: Selection) -> ChartData:
        """The newest candles of the selection, or those of its range; while there is no answer, those known last."""
        try:
            found = self._read(selection)
        except DatabaseUnavailable:
            held = self._charts.get(selection)
            return ChartData((), reachable=False) if held is None else replace(held, reachable=False)
        self._remember(selection, found)
        return found

    def chart_end(self, selection: Selection, since: datetime) -> ChartData:
        """The candles from `since` on, and what is drawn over them. Raises DatabaseUnavailable."""
        candles = self._reader.candles(selection.symbol, selection.timeframe, CANDLES_SENT, start=since)
        return ChartData(candles, reachable=True, marks=self._marks(selection, candles, None))

    def _read(self, selection: Selection) -> ChartData:
        if selection.start is None or selection.end is None:
            candles = self._reader.candles(selection.symbol, selection.timeframe, CANDLES_SENT)
            return ChartData(candles, True, self._marks(selection, candles, None))
        width = timedelta(seconds=TIMEFRAME_SECONDS[selection.timeframe])
        # Some more on either side: there to pan to.
        until = min(selection.end, self._clock()) + CANDLES_SENT // 2 * width
        is_live = until > self._clock()
        # Nights and weekends have no candles: so this is the most that can lie in the range.
        wanted = CANDLES_SENT + ceil((selection.end - selection.start) / width)
        candles = self._reader.candles(
            selection.symbol, selection.timeframe, min(MOST_CANDLES, wanted), before=None if is_live else until
        )
        return ChartData(candles, True, self._marks(selection, candles, None if is_live else until), is_live)

    def _marks(self, selection: Selection, candles: Sequence[Candle], end: datetime | None) -> Marks:
        if not candles:
            return Marks()
        marks = self._mark_reader.marks(selection.symbol, BASE[selection.timeframe], candles[0].window_start, end)
        # Indicators and anomalies are of the candles that are stored; coarser ones are rolled up when asked for.
        return marks if is_stored(selection.timeframe) else replace(marks, indicators=[], anomalies=[])

    def _remember(self, selection: Selection, found: ChartData) -> None:
        self._charts.pop(selection, None)
        self._charts[selection] = found
        while len(self._charts) > CHARTS_KEPT:
            del self._charts[next(iter(self._charts))]
