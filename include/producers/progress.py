"""From when on facts are wanted: each is asked for once, by whichever source."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from include.market.event import MICROSECONDS
from include.market.instrument import Instrument
from include.producers.batch import Batch
from include.producers.failover import Candidate, SourceChain
from include.sources.base import END_OF_DAY, MINUTE_US, Want

#: Figures that are made once a day are asked for no more often than this.
SLOW_PACE_US = 6 * 3600 * MICROSECONDS
#: What a first poll asks for at least, in bars.
FIRST_BARS = 4


class TradedMinutes(Protocol):
    """Which minutes are the trades': contract §8 would count a bar of them a second time."""

    def first_free(self, symbol: str, start_us: int) -> int | None:
        """The first minute from `start_us` on that needs a bar; None: from there on all are the trades'."""
        ...


class NoTrades:
    """Every minute needs its bar."""

    def first_free(self, symbol: str, start_us: int) -> int | None:
        return start_us


def is_slow(candidate: Candidate, want: Want) -> bool:
    """Whether the figures are made once a day."""
    return candidate.capability.delay_seconds >= END_OF_DAY or want.seconds >= END_OF_DAY


class Progress:
    """What is still to be asked for. Times in UTC epoch microseconds."""

    def __init__(self, lookback_us: int, minutes: TradedMinutes) -> None:
        self._lookback_us = lookback_us
        self._minutes = minutes

    def since(
        self, chain: SourceChain, candidate: Candidate, batch: Batch, instruments: Sequence[Instrument], now_us: int
    ) -> dict[str, int]:
        """The time from which on facts are wanted, by symbol; without those for whom nothing can be new.

        Bars go on where any source of the chain ended: the same minute is not asked for twice.
        """
        want = chain.want
        through: dict[str, int] = {}
        for source in chain.sources if want.seconds else [candidate.name]:
            for symbol, time_us in batch.held(source, want.name).items():
                through[symbol] = max(time_us, through.get(symbol, 0))
        asked = batch.held(candidate.name, f"asked:{want.name}") if is_slow(candidate, want) else {}
        since = {}
        for symbol in (instrument.symbol for instrument in instruments):
            if now_us - asked.get(symbol, 0) < SLOW_PACE_US:
                continue
            start_us = self._first_bar(symbol, through.get(symbol), want, now_us) if want.seconds else 0
            if start_us is not None:
                since[symbol] = max(start_us, 0 if want.seconds else through.get(symbol, 0))
        return since

    def is_traded(self, symbol: str, start_us: int) -> bool:
        """Whether the minute's trades are published, so that its bar must not be."""
        return self._minutes.first_free(symbol, start_us) != start_us

    def _first_bar(self, symbol: str, through_us: int | None, want: Want, now_us: int) -> int | None:
        """None where no bar can have closed since."""
        step_us = want.seconds * MICROSECONDS
        first_us = now_us - max(self._lookback_us, FIRST_BARS * step_us)
        start_us: int | None = (first_us if through_us is None else through_us + step_us) // MINUTE_US * MINUTE_US
        if step_us == MINUTE_US and start_us is not None:
            start_us = self._minutes.first_free(symbol, start_us)
        return None if start_us is None or start_us + step_us > now_us else start_us
