"""What the driver says of itself: its figures, and which line says why it ended."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pyarrow as pa

from spark_jobs.sinks import offset_ranges
from spark_jobs.watch import Figures, _behind, reason_of

SINK_ERROR = """An exception was raised by the Python Proxy. Return Message: Traceback (most recent call last):
  File "sinks.py", line 50, in write
    raise ex
psycopg.errors.DuplicateTable: relation "x" already exists

\tat py4j.Protocol.getReturnValue(Protocol.java:476)
"""


def progress(batch: int, rows: int, milliseconds: int) -> SimpleNamespace:
    source = SimpleNamespace(endOffset='{"t": {"0": 5}}', latestOffset='{"t": {"0": 7}}')
    return SimpleNamespace(
        batchId=batch,
        numInputRows=rows,
        durationMs={"triggerExecution": milliseconds},
        inputRowsPerSecond=12.34,
        processedRowsPerSecond=None,
        eventTime={"watermark": "2026-01-01T00:00:00.000Z"},
        sources=[source],
    )


def test_figures_of_a_query_know_how_long_its_batches_take() -> None:
    figures = Figures()
    query: Any = SimpleNamespace(name="events_stock", lastProgress=None)
    assert figures.of(query)["batch_id"] is None
    for batch in range(200):
        query.lastProgress = progress(batch, rows=1, milliseconds=100 + batch)
        figures.of(query)
    query.lastProgress = progress(200, rows=0, milliseconds=90_000)
    assert figures.of(query) == {
        "batch_id": 200,
        "input_rows_per_second": 12.3,
        "rows_per_second": 0.0,
        "watermark": "2026-01-01T00:00:00.000Z",
        "lag": 2,
        # Of the last 100 batches with rows, 200 to 299 ms.
        "batch_seconds_p95": 0.294,
    }


def test_the_reason_is_the_sinks_own_line() -> None:
    assert reason_of(RuntimeError(SINK_ERROR)) == 'psycopg.errors.DuplicateTable: relation "x" already exists'
    assert reason_of(RuntimeError("one line")) == "one line"
    assert reason_of(RuntimeError()) == "RuntimeError"


def test_lag_counts_events_behind_over_all_partitions() -> None:
    assert _behind('{"t": {"0": 5, "1": 7}}', '{"t": {"0": 9, "1": 7}}') == 4
    assert _behind(None, None) == 0
    assert _behind('{"t": {"0": 5}}', "null") == 0, "a batch run again after a crash"


def test_offset_ranges_end_behind_the_last_record() -> None:
    rows = pa.table({"topic": ["t"] * 3, "kafka_partition": [0, 0, 1], "kafka_offset": [4, 5, 9]})
    assert offset_ranges(rows) == {"t": {"0": [4, 6], "1": [9, 10]}}
