"""What `/api/v1/lineage` answers, and `./pipeline lineage --json` prints."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from pydantic import BaseModel

from include.api.schemas import CandleOut, Figure, Moment
from include.market.candle import Interval
from include.storage.lineage_rows import Lineage, PlacedEvent, Verdict


class LineageEventOut(BaseModel):
    """`verdict` is `used`, or what kept the event out, and `why` says it in words.

    Topic, partition and offset are null for an event that came by a backfill; the batch also where the ledger has none.
    """

    event_id: str
    source: str
    kind: str
    event_time: Moment
    interval_seconds: int
    revision: int
    open: Figure
    high: Figure
    low: Figure
    close: Figure
    volume: Figure | None
    ingested_at: Moment
    kafka_topic: str | None
    kafka_partition: int | None
    kafka_offset: int | None
    checkpoint_id: str | None
    batch_id: int | None
    verdict: Verdict
    why: str | None

    @classmethod
    def of(cls, event: PlacedEvent) -> LineageEventOut:
        row, batch = event.judged.row, event.batch
        return cls(
            **{name: getattr(row, name) for name in cls.model_fields if hasattr(row, name)},
            kafka_topic=event.kafka_topic,
            checkpoint_id=batch.checkpoint_id if batch else None,
            batch_id=batch.batch_id if batch else None,
            verdict=event.judged.verdict,
            why=event.judged.why,
        )


class LineageBatchOut(BaseModel):
    """`offsets`: topic to partition to [first, last + 1]; `code_version` null: committed before it was written down."""

    query_name: str
    checkpoint_id: str
    batch_id: int
    epoch: int
    offsets: dict[str, dict[str, list[int]]]
    rows_in: int
    rows_new: int
    committed_at: Moment
    code_version: str | None


class LineageBackfillOut(BaseModel):
    """What a backfill or repair changed of the symbol on that UTC day, this window or another."""

    run_id: str
    source: str | None
    bars_new: int
    bars_changed: int
    finished_at: Moment


class FindingOut(BaseModel):
    """A check that failed for this symbol, this window or one of its batches; `keys` name the rows."""

    suite: str
    check_name: str
    severity: str
    observed: str | None
    expected: str | None
    reason: str | None
    keys: list[dict[str, Any]]


class LineageRunOut(BaseModel):
    """Counts are of the whole run, `findings` of what concerns this candle."""

    run_id: str
    started_at: Moment
    covered_from: Moment
    covered_until: Moment
    passed: int
    failed_critical: int
    failed_warning: int
    code_version: str | None
    findings: list[FindingOut]


class LineageOut(BaseModel):
    """`quality_runs` are the newest of `quality_runs_total`; `differs` names figures that the used events do not give.

    `is_complete` is false where not all events are here, as of a day that is in the archive only: `notes` say why.
    """

    market: str
    symbol: str
    interval: Interval
    window_end: Moment
    candle: CandleOut
    is_complete: bool
    differs: list[str]
    notes: list[str]
    events: list[LineageEventOut]
    batches: list[LineageBatchOut]
    backfills: list[LineageBackfillOut]
    quality_runs: list[LineageRunOut]
    quality_runs_total: int

    @classmethod
    def of(cls, market: str, found: Lineage) -> LineageOut:
        return cls(
            market=market,
            symbol=found.candle.symbol,
            interval=found.candle.interval,
            window_end=found.window_end,
            candle=CandleOut.of(found.candle),
            is_complete=found.is_complete,
            differs=list(found.differs),
            notes=list(found.notes),
            events=[LineageEventOut.of(each) for each in found.events],
            batches=[LineageBatchOut(**asdict(each)) for each in found.batches],
            backfills=[LineageBackfillOut(**asdict(each)) for each in found.backfills],
            quality_runs=[LineageRunOut(**asdict(each)) for each in found.runs],
            quality_runs_total=found.runs_total,
        )
