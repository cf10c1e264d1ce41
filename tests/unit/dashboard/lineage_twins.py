"""An in-memory twin of the lineage reader, and rows to fill it with."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from include.market.candle import Interval
from include.storage.lineage_rows import (
    Backfill,
    CoveringRun,
    Finding,
    JudgedEvent,
    LedgerBatch,
    Lineage,
    PlacedEvent,
    StoredRow,
)
from include.storage.lineage_rules import window_of
from include.storage.read_connections import DatabaseUnavailable
from tests.unit.dashboard.twins import START, candle

TOPIC = "market.stock.events.v1"


def row(**changes: Any) -> StoredRow:
    """The bar of AAPL's minute START, as Yahoo gave it and Kafka carried it."""
    usual = StoredRow(
        event_id="yahoo:AAPL:bar60:0",
        asset_class="stock",
        source="yahoo",
        kind="bar",
        event_time=START,
        interval_seconds=60,
        open=Decimal("101"),
        high=Decimal("102.25"),
        low=Decimal("100.5"),
        close=Decimal("101.50000000"),
        volume=Decimal("1200"),
        ingested_at=START + timedelta(seconds=62),
        kafka_partition=1,
        kafka_offset=40,
        revision=0,
    )
    return replace(usual, **changes)


BATCH = LedgerBatch(
    query_name="events_stock",
    checkpoint_id="0b5e7f1e-checkpoint",
    batch_id=7,
    epoch=3,
    offsets={TOPIC: {"1": [38, 42]}},
    rows_in=4,
    rows_new=4,
    committed_at=START + timedelta(seconds=64),
    code_version="0.1.0+gabc.def",
    min_event_time=START,
    max_event_time=START + timedelta(minutes=1),
)
REVISION = row(revision=1, kafka_partition=None, kafka_offset=None, close=Decimal("101.75"))
FINDING = Finding("run-1", "candles", "candles_high_low", "critical", None, "1 row fails", "low <= high", "Why.",
                  [{"symbol": "AAPL"}])  # fmt: skip
RUN = CoveringRun(
    run_id="run-1",
    started_at=START + timedelta(minutes=9),
    covered_from=START - timedelta(hours=1),
    covered_until=START + timedelta(minutes=9),
    passed=99,
    failed_critical=1,
    failed_warning=0,
    code_version=None,
    findings=(FINDING,),
)
LINEAGE = Lineage(
    candle=candle(close="101.75"),
    window_end=START + timedelta(minutes=1),
    events=(
        PlacedEvent(JudgedEvent(row(), "superseded", "revision 1 counts"), TOPIC, BATCH),
        PlacedEvent(JudgedEvent(REVISION, "used"), None, None),
    ),
    batches=(BATCH,),
    backfills=(Backfill("manual__1", "yahoo", 0, 1, START + timedelta(days=1)),),
    runs=(RUN,),
    runs_total=8,
    is_complete=True,
    differs=(),
    notes=("events without a Kafka offset came by a backfill, not by the stream",),
)


class MemoryLineage:
    """`LineageReader` over one candle; `up = False` is an outage. `asked` has the questions."""

    def __init__(self, found: Lineage = LINEAGE) -> None:
        self.found = found
        self.up = True
        self.asked: list[tuple[str, datetime, Interval]] = []

    def lineage(self, symbol: str, moment: datetime, interval: Interval = "1m") -> Lineage | None:
        if not self.up:
            raise DatabaseUnavailable("the database does not answer: connection refused")
        self.asked.append((symbol, moment, interval))
        held = self.found.candle
        key = (symbol, interval, window_of(moment, interval)[0])
        return self.found if key == (held.symbol, held.interval, held.window_start) else None
