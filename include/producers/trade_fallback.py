"""Prices while trades cannot be had: from the next source that has current prices."""

from __future__ import annotations

from collections.abc import Sequence

import structlog

from include.errors import SourceError, Transient
from include.market.instrument import Instrument
from include.producers.failover import Candidate, Switchboard
from include.sources.base import QUOTES, TRADES, FetchResult

log = structlog.get_logger(__name__)


class QuoteFallback:
    """See include.producers.trade_parts.Fallback. `candidates` give quotes, the preferred one first."""

    def __init__(
        self, source: str, candidates: Sequence[Candidate], instruments: Sequence[Instrument], board: Switchboard
    ) -> None:
        self._source = source
        self._candidates = candidates
        self._instruments = instruments
        self._board = board
        self._asset_class = instruments[0].asset_class
        self._serving = board.active(self._asset_class, TRADES.name) or source
        self._newest: dict[str, int] = {}

    def poll(self, now_us: int, reason: str) -> FetchResult:
        failure: SourceError = Transient("no other source has prices")
        for candidate in self._candidates:
            try:
                result = self._ask(candidate, now_us)
            except SourceError as error:
                failure = error
                continue
            self._switch(candidate.name, reason)
            return result
        raise failure

    @property
    def is_serving(self) -> bool:
        return self._serving != self._source

    def restored(self, now_us: int) -> None:
        self._switch(self._source, "recovered")

    def _ask(self, candidate: Candidate, now_us: int) -> FetchResult:
        """What is newer than what came before; a price that stands still is not said again."""
        known = [instrument for instrument in self._instruments if candidate.name in instrument.ids]
        result = FetchResult()
        since = dict.fromkeys((instrument.symbol for instrument in known), 0)
        for question in candidate.client.source.questions(QUOTES, known, since, now_us):
            result.add(candidate.client.fetch(question))
        result.events = [event for event in result.events if event.event_time > self._newest.get(event.symbol, 0)]
        self._newest |= {event.symbol: event.event_time for event in result.events}
        return result

    def _switch(self, serving: str, reason: str) -> None:
        if serving == self._serving:
            return
        self._board.record(self._asset_class, TRADES.name, self._serving, serving, reason)
        log.warning("trades.switched", from_source=self._serving, to_source=serving, reason=reason)
        self._serving = serving
