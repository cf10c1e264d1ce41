"""What the list of alerts asks and notes, and what it goes on showing during an outage."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from include.dashboard.components.alerts_list import key_of, parsed_key
from include.storage.alert_reads import Acknowledges, AlertReads, Notice
from include.storage.market_reads import DatabaseUnavailable

#: Who has seen it: the page has no logins.
BY = "dashboard"
_log = logging.getLogger(__name__)


class AlertsView:
    """Remembers its last good answer. Without `writer` nothing can be acknowledged."""

    def __init__(
        self,
        reader: AlertReads,
        writer: Acknowledges | None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._reader = reader
        self._writer = writer
        self.now = now
        self._held: Sequence[Notice] | None = None

    def newest(self) -> Sequence[Notice] | None:
        """None while nothing is known yet and the database does not answer."""
        try:
            self._held = self._reader.newest()
        except DatabaseUnavailable:
            _log.warning("the alerts cannot be read now: those known last are shown")
        return self._held

    def acknowledge(self, key: str) -> None:
        """`key` as the list made it; what is no key of a notice changes nothing."""
        wanted = parsed_key(key)
        if wanted is None or self._writer is None:
            return
        try:
            if isinstance(wanted, int):
                self._writer.alert(wanted, BY)
            elif any(each.kind == "anomaly" and parsed_key(key_of(each)) == wanted for each in self._held or ()):
                symbol, interval, window_start, metric = wanted
                self._writer.anomaly(symbol, interval, datetime.fromisoformat(window_start), metric, BY)
        except DatabaseUnavailable:
            _log.warning("not acknowledged, the database does not answer: %s", key)
