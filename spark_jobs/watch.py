"""How a query fares: its progress as figures, and the one line that says why it ended."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from pyspark.sql.streaming.query import StreamingQuery

from include.errors import LeaseLost, MarketDataError

#: Spark reports every 10 s even without data; a query that is silent for so long is stuck, or its thread is dead.
STUCK_SECONDS = 240.0


class ProgressWatch:
    """Health is progress: notices a query that says it is active and does nothing."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._last: dict[str, tuple[str | None, float]] = {}

    def look(self, query_name: str, reported_at: str | None) -> None:
        """Raises MarketDataError when the report has not changed for STUCK_SECONDS."""
        held = self._last.get(query_name)
        if held is None or held[0] != reported_at:
            self._last[query_name] = (reported_at, self._clock())
        elif self._clock() - held[1] > STUCK_SECONDS:
            raise MarketDataError(f"{query_name} has made no progress for {STUCK_SECONDS:.0f} s")


def reason_of(failure: Exception) -> str:
    """The one line that says why: Spark wraps a sink's error in the traces of two languages."""
    lines = [line for line in str(failure).splitlines() if line and not line[0].isspace()]
    causes = [line for line in lines if re.match(r"^(psycopg|redis|include|spark_jobs|py\w+)\.[\w.]+: ", line)]
    return (causes or lines or [type(failure).__name__])[0][:500]


def progress_of(query: StreamingQuery) -> dict[str, Any]:
    """The figures that people ask for: batch, rate, watermark, lag in events."""
    progress = query.lastProgress
    if progress is None:
        return {"batch_id": None, "rows_per_second": 0.0, "watermark": None, "lag": None}
    sources = progress.sources
    lag = sum(_behind(source.endOffset, source.latestOffset) for source in sources)
    return {
        "batch_id": progress.batchId,
        "rows_per_second": round(progress.processedRowsPerSecond or 0.0, 1),
        "watermark": progress.eventTime.get("watermark"),
        "lag": lag,
    }


def _behind(end: str | None, latest: str | None) -> int:
    # A batch that is run again after a crash has not asked Kafka for its newest offsets: JSON's null.
    ends, newest = json.loads(end or "null"), json.loads(latest or "null")
    if ends is None or newest is None:
        return 0
    return sum(
        max(0, offset - ends.get(topic, {}).get(partition, 0))
        for topic, partitions in newest.items()
        for partition, offset in partitions.items()
    )


def raise_if_ended(query: StreamingQuery) -> None:
    if query.isActive:
        return
    failure = query.exception()
    text = str(failure)
    if "LeaseLost" in text:
        raise LeaseLost("a batch found that another driver has taken the lease")
    raise failure or MarketDataError(f"{query.name} ended by itself")
