"""Judges what a source gave before it goes on: trades by id, and what is refused for the dead letters."""

from __future__ import annotations

from collections.abc import Iterable

from include.market.event import MarketEvent, encode, reason_invalid
from include.sources.base import Clock, Rejected
from include.sources.binance_trades import rejected_id, trade_id


class TradeIntake:
    """What was refused waits for `take_refused`."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._refused: list[Rejected] = []
        #: Event time of the newest trade, UTC epoch microseconds; 0 before the first.
        self.newest_us = 0

    def refuse(self, rejected: Iterable[Rejected]) -> None:
        self._refused += rejected

    def take_refused(self) -> list[Rejected]:
        taken, self._refused = self._refused, []
        return taken

    def valid(self, events: Iterable[MarketEvent]) -> list[MarketEvent]:
        """Those that may be published."""
        return [event for event in events if self._is_valid(event)]

    def numbered(self, events: Iterable[MarketEvent], rejected: Iterable[Rejected]) -> dict[int, MarketEvent | None]:
        """Trades by id, with None for one that is refused: it is not missing."""
        found: dict[int, MarketEvent | None] = {}
        for refused in rejected:
            self._refused.append(refused)
            number = rejected_id(refused)
            if number is not None:
                found[number] = None
        for event in events:
            is_valid = self._is_valid(event)
            found[trade_id(event)] = event if is_valid else None
            if is_valid:
                self.newest_us = max(self.newest_us, event.event_time)
        return found

    def _is_valid(self, event: MarketEvent) -> bool:
        reason = reason_invalid(event, self._clock())
        if reason is not None:
            self._refused.append(Rejected(encode(event), reason, event.source, event.symbol))
        return reason is None
