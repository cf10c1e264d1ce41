"""What made a candle, row by row: its events, batches, backfills and quality runs."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal

from include.market.candle import Candle

#: Whether an event is in its candle, and what kept it out.
Verdict = Literal["used", "superseded", "quarantined", "second_bar", "too_long", "outranked"]


@dataclass(frozen=True, slots=True)
class StoredRow:
    """One row of `market_events` with what the quarantine has of it. Prices in the quote currency."""

    event_id: str
    asset_class: str
    source: str
    kind: str
    event_time: datetime
    interval_seconds: int
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal | None
    ingested_at: datetime
    kafka_partition: int | None
    kafka_offset: int | None
    revision: int
    #: held, released or dropped; None: it never was in quarantine.
    quarantine: str | None = None
    check_name: str | None = None
    reason: str | None = None
    quarantine_shown: bool = True

    @property
    def is_by_kafka(self) -> bool:
        """Rows of a backfill did not come that way."""
        return self.kafka_offset is not None


@dataclass(frozen=True, slots=True)
class JudgedEvent:
    """A row, and whether the candle counts it; `why` says why not, None where it does."""

    row: StoredRow
    verdict: Verdict
    why: str | None = None

    @property
    def is_used(self) -> bool:
        return self.verdict == "used"


@dataclass(frozen=True, slots=True)
class LedgerBatch:
    """One row of `stream_batches`. `offsets` is `{topic: {partition: [first, last + 1]}}`.

    Where it was committed before they were written down, `code_version` and `min_event_time` are None; the latter also
    where it stored no event. `max_event_time` is of all batches until then.
    """

    query_name: str
    checkpoint_id: str
    batch_id: int
    epoch: int
    offsets: dict[str, dict[str, list[int]]]
    rows_in: int
    rows_new: int
    committed_at: datetime
    code_version: str | None
    min_event_time: datetime | None
    max_event_time: datetime | None

    def stored(self, topic: str, row: StoredRow) -> bool:
        """Whether the row came with it. A rebuild reads the same records again and stores none of them."""
        if row.kafka_partition is None or row.kafka_offset is None or not self.rows_new:
            return False
        if self.max_event_time is None or row.event_time > self.max_event_time:
            return False
        if self.min_event_time is not None and row.event_time < self.min_event_time:
            return False
        first, past = self.offsets.get(topic, {}).get(str(row.kafka_partition), (0, 0))
        return first <= row.kafka_offset < past


@dataclass(frozen=True, slots=True)
class PlacedEvent:
    """A judged event, the topic that it came by, and the batch that stored it.

    Both are None for one that did not come by Kafka; the batch also where the ledger has none for it.
    """

    judged: JudgedEvent
    kafka_topic: str | None
    batch: LedgerBatch | None


@dataclass(frozen=True, slots=True)
class Backfill:
    """What a backfill or a repair changed of the symbol on the candle's UTC day."""

    run_id: str
    source: str | None
    bars_new: int
    bars_changed: int
    finished_at: datetime


@dataclass(frozen=True, slots=True)
class Finding:
    """A check that failed and names the symbol, this window of it, or a batch of it; `keys` are those that do."""

    run_id: str
    suite: str
    check_name: str
    severity: str
    symbol: str | None
    observed: str | None
    expected: str | None
    reason: str | None
    keys: list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class CoveringRun:
    """A finished quality run whose span touches the window, and what it found about it."""

    run_id: str
    started_at: datetime
    covered_from: datetime
    covered_until: datetime
    passed: int
    failed_critical: int
    failed_warning: int
    code_version: str | None
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True)
class Lineage:
    """All that made a candle.

    `runs` are the newest of the `runs_total` that looked at the window. `is_complete` is false where not all events are
    here: more than are read at once, or of a day that is in the archive only. `differs` names the columns of the candle
    that the used events do not give, empty where they do or where not all are here. `notes` say in words what a reader
    must know.
    """

    candle: Candle
    window_end: datetime
    events: tuple[PlacedEvent, ...]
    batches: tuple[LedgerBatch, ...]
    backfills: tuple[Backfill, ...]
    runs: tuple[CoveringRun, ...]
    runs_total: int
    is_complete: bool
    differs: tuple[str, ...]
    notes: tuple[str, ...]
