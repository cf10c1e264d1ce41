"""The driver's own judgement: what stands still, and which line says why."""

from __future__ import annotations

import pyarrow as pa
import pytest

from include.errors import MarketDataError
from spark_jobs.sinks import offset_ranges
from spark_jobs.watch import STUCK_SECONDS, ProgressWatch, _behind, reason_of

SINK_ERROR = """An exception was raised by the Python Proxy. Return Message: Traceback (most recent call last):
  File "sinks.py", line 50, in write
    raise ex
psycopg.errors.DuplicateTable: relation "x" already exists

\tat py4j.Protocol.getReturnValue(Protocol.java:476)
"""


def test_a_query_that_reports_is_left_alone_and_a_silent_one_is_found() -> None:
    now = [0.0]
    watch = ProgressWatch(lambda: now[0])
    for second in range(0, 1_000, 10):
        now[0] = second
        watch.look("events_stock", f"report {second}")
        if second <= STUCK_SECONDS:
            watch.look("events_crypto", None)
    with pytest.raises(MarketDataError, match="events_crypto has made no progress"):
        watch.look("events_crypto", None)


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
