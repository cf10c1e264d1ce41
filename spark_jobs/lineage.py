"""What the driver tells of lineage: a run of each query, from its start to its end, once a minute what it has read."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from types import TracebackType
from typing import Self

import structlog

from include.code_version import code_version
from include.errors import LeaseLost
from include.market.event import AssetClass
from include.market.topics import EVENTS
from include.operations.lineage_events import Document, Kind, Places, facet, failure_facet, run_event, run_id_of
from include.operations.lineage_journal import Journal, journal_of
from include.settings import Settings
from include.storage.stream_store import Offsets
from spark_jobs.sinks import EventSink
from spark_jobs.watch import reason_of

EVERY_SECONDS = 60.0
END_SECONDS = 5.0
TABLES = (
    "market_events", "candles", "indicators", "price_anomalies", "late_events", "dead_letters", "stream_batches",
)  # fmt: skip

log = structlog.get_logger("stream")


class StreamLineage(threading.Thread):
    """A context: START of each query at its begin, COMPLETE at its end, FAIL or ABORT (a lost lease) at an error.

    A thread of its own writes to the journal on disk. A batch only leaves its offsets here; what cannot be written is
    said in the log, and nothing of it reaches the stream.
    """

    def __init__(self, journal: Journal, places: Places, sinks: Mapping[AssetClass, EventSink], engine: str) -> None:
        super().__init__(name="lineage", daemon=True)
        self._journal, self._places, self._sinks, self._engine = journal, places, sinks, engine
        self._began = datetime.now(UTC)
        self._read: dict[AssetClass, dict[str, list[int]]] = {name: {} for name in sinks}
        self._ending = threading.Event()
        # Of the code as it is now, and not when the first batch asks.
        self._code = code_version()

    @classmethod
    def of(cls, chosen: Settings, sinks: Mapping[AssetClass, EventSink], engine: str) -> Self:
        """`engine` is Spark's version. Raises SettingsError without a running stack."""
        return cls(journal_of(chosen), Places.of(chosen), sinks, engine)

    def noted(self, asset_class: AssetClass, then: Callable[[Offsets], None]) -> Callable[[Offsets], None]:
        """What a query calls with the offsets of each batch that it has committed; cheap, but for what `then` does."""

        def remember(offsets: Offsets) -> None:
            held = self._read[asset_class]
            for partitions in offsets.values():
                for partition, (first, past) in partitions.items():
                    since = held[partition][0] if partition in held else first
                    held[partition] = [since, past]
            then(offsets)

        return remember

    def run(self) -> None:
        self._tell("START")
        while not self._ending.wait(EVERY_SECONDS):
            self._tell("RUNNING")

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ending.set()
        self.join(END_SECONDS)
        if error is None:
            self._tell("COMPLETE")
        elif isinstance(error, LeaseLost):
            self._tell("ABORT", str(error))
        else:
            self._tell("FAIL", reason_of(error) if isinstance(error, Exception) else type(error).__name__)

    def _tell(self, kind: Kind, failure: str | None = None) -> None:
        at = self._began if kind == "START" else datetime.now(UTC)
        try:
            self._journal.append(*(self._document(kind, name, at, failure) for name in self._sinks))
        except OSError as reason:
            log.warning("lineage events were not written", reason=str(reason))

    def _document(self, kind: Kind, asset_class: AssetClass, at: datetime, failure: str | None) -> Document:
        sink, places = self._sinks[asset_class], self._places
        job = f"market_stream.{sink.query_name}"
        facets = {
            "processing_engine": facet("processing_engine", name="spark", version=self._engine),
            "marketData_code": facet("marketData_code", version=self._code),
            "marketData_stream": facet("marketData_stream", checkpointId=sink.checkpoint_id, epoch=sink.epoch),
        }
        if failure is not None:
            facets["errorMessage"] = failure_facet(failure)
        # Since this run began; the ledger has them batch by batch.
        offsets = facet("marketData_offsets", partitions={part: list(span) for part, span in
                                                          sorted(self._read[asset_class].copy().items())})  # fmt: skip
        return run_event(
            kind, at, places, job, run_id_of(places.jobs, job, sink.epoch, sink.checkpoint_id),
            job_type=("STREAMING", "SPARK", "JOB"), run=facets,
            inputs=[places.topic(EVENTS[asset_class], marketData_offsets=offsets)],
            outputs=[places.table(table) for table in TABLES],
        )  # fmt: skip
