"""An in-memory twin of the event reader, and an event to fill it with."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from include.storage.event_reads import StoredEvent
from include.storage.read_connections import DatabaseUnavailable

NOW = datetime(2026, 3, 2, 15, 0, tzinfo=UTC)
EVENT = StoredEvent(
    event_id="yahoo:AAPL:bar60:0",
    symbol="AAPL",
    asset_class="stock",
    source="yahoo",
    kind="bar",
    event_time=NOW - timedelta(minutes=90),
    interval_seconds=60,
    open=Decimal("101.50000000"),
    high=Decimal("0.00000010"),
    low=Decimal("101"),
    close=Decimal("101.5"),
    volume=None,
    currency="USD",
    ingested_at=NOW - timedelta(minutes=89),
    kafka_partition=1,
    kafka_offset=7,
    revision=0,
)


class MemoryEvents:
    """`EventReader` over a list; `up = False` is an outage."""

    def __init__(self) -> None:
        times = [EVENT.event_time + timedelta(minutes=minute) for minute in range(120)]
        self.held = [replace(EVENT, event_id=f"yahoo:AAPL:bar60:{n}", event_time=at) for n, at in enumerate(times)]
        self.up = True

    def events(
        self, symbol: str, start: datetime, end: datetime, limit: int, as_of: datetime | None = None
    ) -> list[StoredEvent]:
        if not self.up:
            raise DatabaseUnavailable("the database does not answer: connection refused")
        known = [row for row in self.held if as_of is None or row.ingested_at <= as_of]
        return [row for row in known if row.symbol == symbol and start <= row.event_time < end][:limit]
