"""What the page asks the stores, and what it goes on showing while they do not answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from math import ceil
from threading import Lock
from typing import TypeVar

from include.dashboard.selection import Selection, parse_selection
from include.market.candle import Candle
from include.market.instrument import Instrument
from include.market.timeframe import BASE, TIMEFRAME_SECONDS, Timeframe, is_stored
from include.storage.anomaly_reads import Anomaly
from include.storage.chart_reads import IndicatorPoint, MarkReads, Marks
from include.storage.market_reads import CandleReads, DatabaseUnavailable, Price, PriceReads, latest_prices

CANDLES_SENT = 500
#: Of one figure, however far its range reaches.
MOST_CANDLES = 2_500
#: What is shown on while the database is away: the charts that were asked for last.
CHARTS_KEPT = 64
COURSE_POINTS = 48
#: Before the first candle drawn, as far as so many are read at all (`market_reads.MAX_STORED_ROWS`): an exponential
#: mean of 26 has then forgotten to a billionth where it began.
WARM_CANDLES = 300
_KEEPING = Lock()

Key = TypeVar("Key")
Value = TypeVar("Value")
#: Indicators and anomalies of one symbol's candles of one length, oldest first.
Figures = Callable[[Sequence[Candle]], tuple[list[IndicatorPoint], list[Anomaly]]]


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


@dataclass(frozen=True, slots=True)
class _Course:
    """Candles that go back far enough for the figures of the newest; all that there were at `known_at`."""

    candles: Sequence[Candle]
    known_at: datetime


class MarketView:
    """Reads for the page. Remembers its last good answers: an outage must not blank the screen."""

    def __init__(
        self,
        instruments: Sequence[Instrument],
        reader: CandleReads,
        cache: PriceReads,
        mark_reader: MarkReads,
        figures: Figures,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.instruments = tuple(instruments)
        self._symbols = [instrument.symbol for instrument in instruments]
        self._by_symbol = {instrument.symbol: instrument for instrument in instruments}
        self._reader = reader
        self._cache = cache
        self._mark_reader = mark_reader
        self._figures = figures
        self._clock = clock
        self._board = Board(clock(), {}, {}, reachable=True)
        self._charts: dict[Selection, ChartData] = {}
        self._courses: dict[tuple[str, Timeframe], _Course] = {}

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
        _keep(self._charts, selection, found)
        return found

    def chart_end(self, selection: Selection, since: datetime) -> ChartData:
        """The candles from `since` on, and what is drawn over them. Raises DatabaseUnavailable."""
        now = self._clock()
        candles = self._reader.candles(selection.symbol, selection.timeframe, CANDLES_SENT, start=since)
        if is_stored(selection.timeframe) or not candles:
            return ChartData(candles, True, self._marks(selection, candles, None))
        course = self._continued(selection, candles, since, now)
        return ChartData(candles, True, self._marks(selection, candles, None, course))

    def _read(self, selection: Selection) -> ChartData:
        now = self._clock()
        symbol, timeframe = selection.symbol, selection.timeframe
        warm = 0 if is_stored(timeframe) else WARM_CANDLES
        if selection.start is None or selection.end is None:
            course = self._reader.candles(symbol, timeframe, CANDLES_SENT + warm)
            if warm:
                _keep(self._courses, (symbol, timeframe), _Course(course, now))
            candles = course[-CANDLES_SENT:]
            return ChartData(candles, True, self._marks(selection, candles, None, course))
        width = timedelta(seconds=TIMEFRAME_SECONDS[timeframe])
        # Some more on either side: there to pan to.
        until = min(selection.end, now) + CANDLES_SENT // 2 * width
        end = None if until > now else until
        # Nights and weekends have no candles: so this is the most that can lie in the range.
        wanted = min(MOST_CANDLES, CANDLES_SENT + ceil((selection.end - selection.start) / width))
        course = self._reader.candles(symbol, timeframe, wanted + warm, before=end)
        candles = course[-wanted:]
        return ChartData(candles, True, self._marks(selection, candles, end, course), is_live=end is None)

    def _marks(
        self, selection: Selection, candles: Sequence[Candle], end: datetime | None, course: Sequence[Candle] = ()
    ) -> Marks:
        """`course`: the candles and those before them, from which the figures come where none are stored."""
        if not candles:
            return Marks()
        first, timeframe = candles[0].window_start, selection.timeframe
        if is_stored(timeframe):
            return self._mark_reader.marks(selection.symbol, BASE[timeframe], first, end)
        marks = self._mark_reader.marks(selection.symbol, None, first, end)
        points, anomalies = self._figures(course)
        return replace(
            marks,
            indicators=[each for each in points if each.window_start >= first],
            anomalies=[each for each in anomalies if each.window_start >= first],
        )

    def _continued(
        self, selection: Selection, candles: Sequence[Candle], since: datetime, now: datetime
    ) -> Sequence[Candle]:
        """The course as it was known, and from `since` on these candles."""
        key = (selection.symbol, selection.timeframe)
        held = self._courses.get(key)
        if held is None or held.known_at < since:
            course = self._reader.candles(*key, CANDLES_SENT + WARM_CANDLES)
        else:
            before = [each for each in held.candles if each.window_start < since]
            course = [*before, *candles][-CANDLES_SENT - WARM_CANDLES :]
        _keep(self._courses, key, _Course(course, now))
        return course


def _keep(held: dict[Key, Value], key: Key, value: Value) -> None:
    """As the newest; of more than CHARTS_KEPT the oldest goes."""
    with _KEEPING:
        held.pop(key, None)
        held[key] = value
        while len(held) > CHARTS_KEPT:
            del held[next(iter(held))]
