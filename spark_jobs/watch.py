"""How a query fares: its progress as figures, and the one line that says why it ended."""

from __future__ import annotations

import json
import re
from typing import Any

from pyspark.sql.streaming.query import StreamingQuery

from include.errors import LeaseLost, MarketDataError

#: Durations of so many batches are remembered.
BATCHES = 100


class Figures:
    """What people and the supervisor ask of a query: batch, rates, watermark, lag, how long batches take."""

    def __init__(self) -> None:
        self._seconds: dict[str, dict[int, float]] = {}

    def of(self, query: StreamingQuery) -> dict[str, Any]:
        """Rates in events a second, `lag` in events, `batch_seconds_p95` of the last BATCHES seen with rows."""
        progress = query.lastProgress
        if progress is None:
            return dict.fromkeys(("batch_id", "watermark", "lag", "batch_seconds_p95")) | {
                "input_rows_per_second": 0.0,
                "rows_per_second": 0.0,
            }
        seconds = self._seconds.setdefault(query.name, {})
        if progress.numInputRows:
            seconds[progress.batchId] = progress.durationMs.get("triggerExecution", 0) / 1000
            if len(seconds) > BATCHES:
                del seconds[min(seconds)]
        sources = progress.sources
        return {
            "batch_id": progress.batchId,
            "input_rows_per_second": round(progress.inputRowsPerSecond or 0.0, 1),
            "rows_per_second": round(progress.processedRowsPerSecond or 0.0, 1),
            "watermark": progress.eventTime.get("watermark"),
            "lag": sum(_behind(source.endOffset, source.latestOffset) for source in sources),
            "batch_seconds_p95": _p95(list(seconds.values())),
        }


def _p95(seconds: list[float]) -> float | None:
    return sorted(seconds)[int(0.95 * (len(seconds) - 1))] if seconds else None


def reason_of(failure: Exception) -> str:
    """The one line that says why: Spark wraps a sink's error in the traces of two languages."""
    lines = [line for line in str(failure).splitlines() if line and not line[0].isspace()]
    causes = [line for line in lines if re.match(r"^(psycopg|redis|include|spark_jobs|py\w+)\.[\w.]+: ", line)]
    return (causes or lines or [type(failure).__name__])[0][:500]


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
