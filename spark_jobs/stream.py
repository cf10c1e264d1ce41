"""The streaming application: events of both asset classes to the warehouse. Run by spark-submit.

Exit codes: 0 stopped orderly, 1 a query failed (the reason is in the lease), 3 another driver owns the
stream.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import sys
import threading
import time
import uuid
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import structlog
from pyspark.errors import StreamingQueryException
from pyspark.sql import SparkSession
from pyspark.sql.streaming.query import StreamingQuery

from include.errors import LeaseLost, MarketDataError
from include.logs import log_to_stderr
from include.market.event import ASSET_CLASSES, AssetClass
from include.settings import Settings, required, settings
from include.storage.cache import CacheManager
from include.storage.lease import Lease
from include.storage.stream_store import StreamStore
from spark_jobs.readers import read_events
from spark_jobs.session import SparkSettings, open_session, spark_settings
from spark_jobs.sinks import EventSink
from spark_jobs.transforms.parse import parse

HEARTBEAT_SECONDS = 2.0
#: Spark reports every 10 s even without data; a query that is silent for so long is stuck, or its thread is dead.
STUCK_SECONDS = 240.0
EXIT_FAILED, EXIT_NOT_OWNER = 1, 3

log = structlog.get_logger("stream")


def main() -> int:
    log_to_stderr()
    chosen = settings()
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    lease = Lease(_writer_url(chosen))
    try:
        lease.acquire(f"{socket.gethostname()}:{os.getpid()}", os.getpid())
    except LeaseLost as refusal:
        log.warning("not starting", reason=str(refusal))
        return EXIT_NOT_OWNER
    try:
        run(chosen, lease, stop)
    except LeaseLost as loss:
        log.warning("stopped: the lease is lost", reason=str(loss))
        return EXIT_NOT_OWNER
    except (StreamingQueryException, MarketDataError, psycopg.Error) as failure:
        reason = reason_of(failure)
        log.exception("a query failed", reason=reason)
        with contextlib.suppress(psycopg.Error):  # PostgreSQL itself may be what failed
            lease.release(last_error=reason)
        return EXIT_FAILED
    lease.release()
    log.info("stopped orderly")
    return 0


def run(chosen: Settings, lease: Lease, stop: threading.Event) -> None:
    """Start the queries and watch them until told to stop. Raises what a query raised, or LeaseLost."""
    spark_chosen = spark_settings()
    spark = open_session("market_stream", spark_chosen)
    try:
        queries = [start_query(spark, chosen, spark_chosen, lease.epoch, name) for name in ASSET_CLASSES]
        watch = ProgressWatch(time.monotonic)
        while not stop.wait(HEARTBEAT_SECONDS):
            for query in queries:
                _raise_if_ended(query)
                progress = query.lastProgress
                watch.look(query.name, None if progress is None else progress.timestamp)
            if not lease.heartbeat({"queries": {q.name: progress_of(q) for q in queries}, "spark_ui": _ui(spark)}):
                raise LeaseLost(f"epoch {lease.epoch} is over")
        for query in queries:
            query.stop()
    finally:
        spark.stop()


def start_query(
    spark: SparkSession, chosen: Settings, spark_chosen: SparkSettings, epoch: int, asset_class: AssetClass
) -> StreamingQuery:
    """One query a class: each has its own watermark, and the trouble of one does not stop the other's state."""
    name = f"events_{asset_class}"
    checkpoint = chosen.state_dir / "checkpoints" / "v1" / name
    store = StreamStore(_writer_url(chosen), epoch)
    if store.has_batches(name) and not checkpoint.exists():
        log.warning("the checkpoint is gone: reading the topic again from its start, repeats are ignored", query=name)
    sink = EventSink(
        query_name=name,
        asset_class=asset_class,
        checkpoint_id=checkpoint_id(checkpoint),
        epoch=epoch,
        watermark_delay=timedelta(seconds=chosen.watermark_seconds),
        store=store,
        cache=CacheManager(required(chosen.redis_url, "REDIS_URL")),
    )
    servers = required(chosen.kafka_bootstrap_servers, "KAFKA_BOOTSTRAP_SERVERS")
    records = read_events(spark, servers, asset_class, spark_chosen.max_offsets_per_trigger)
    # Refused records have no event time, so a date in the far future cannot move the watermark.
    parsed = parse(records, asset_class).withWatermark("event_time", f"{chosen.watermark_seconds} seconds")
    return (
        parsed.writeStream.queryName(name)
        .option("checkpointLocation", str(checkpoint))
        .trigger(processingTime=spark_chosen.trigger)
        .foreachBatch(sink.write)
        .start()
    )


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


def checkpoint_id(checkpoint: Path) -> str:
    """The identity of a checkpoint folder: batch numbers mean something only together with it.

    Without Spark's own files the numbers start at 0 again, which must not pass for batches done before.
    """
    file = checkpoint / "pipeline_id"
    if not (file.exists() and any((checkpoint / "offsets").glob("[0-9]*"))):
        checkpoint.mkdir(parents=True, exist_ok=True)
        file.write_text(str(uuid.uuid4()))
    return file.read_text()


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


def _raise_if_ended(query: StreamingQuery) -> None:
    if query.isActive:
        return
    failure = query.exception()
    text = str(failure)
    if "LeaseLost" in text:
        raise LeaseLost("a batch found that another driver has taken the lease")
    raise failure or MarketDataError(f"{query.name} ended by itself")


def _ui(spark: SparkSession) -> str | None:
    return spark.sparkContext.uiWebUrl


def _writer_url(chosen: Settings) -> str:
    return required(chosen.writer_database_url or chosen.database_url, "WRITER_DATABASE_URL")


if __name__ == "__main__":
    sys.exit(main())
