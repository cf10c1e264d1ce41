"""The streaming application: events of both asset classes to the warehouse. Run by spark-submit.

    spark-submit spark_jobs/stream.py [--rebuild]

With --rebuild the checkpoints are set aside and the topics read again from their start; what is stored is
recognised, so the rows end the same. Exit codes: 0 stopped orderly, 1 failed (the reason is in the lease),
3 another driver owns the stream.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import psycopg
import structlog
from confluent_kafka import KafkaException
from py4j.protocol import Py4JError  # type: ignore[import-untyped]
from pyspark.errors import StreamingQueryException
from pyspark.sql import SparkSession
from pyspark.sql.streaming.query import StreamingQuery

from include.errors import LeaseLost, MarketDataError, PublishError
from include.logs import log_to_stderr
from include.market.event import ASSET_CLASSES, AssetClass
from include.market.topics import EVENTS
from include.settings import Settings, required, settings
from include.storage.cache import CacheManager
from include.storage.lease import Lease
from include.storage.stream_store import StreamStore
from spark_jobs.broker import AnomalyTopic, LagMirror, topic_id
from spark_jobs.checkpoints import open_checkpoint
from spark_jobs.readers import read_events
from spark_jobs.session import SparkSettings, open_session, spark_settings
from spark_jobs.sinks import OUTAGE_SECONDS, EventSink
from spark_jobs.transforms.parse import parse
from spark_jobs.watch import ProgressWatch, progress_of, raise_if_ended, reason_of

HEARTBEAT_SECONDS = 2.0
EXIT_FAILED, EXIT_NOT_OWNER = 1, 3
#: What py4j raises when the JVM is gone: its own error, or the socket's.
_JVM_GONE = (Py4JError, ConnectionError, EOFError)

log = structlog.get_logger("stream")


def main(arguments: Sequence[str] | None = None) -> int:
    log_to_stderr()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rebuild", action="store_true", help="read the topics again from their start")
    rebuild: bool = parser.parse_args(arguments).rebuild
    chosen = settings()
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    lease = Lease(writer_url(chosen))
    try:
        lease.acquire(f"{socket.gethostname()}:{os.getpid()}", os.getpid())
    except LeaseLost as refusal:
        log.warning("not starting", reason=str(refusal))
        return EXIT_NOT_OWNER
    heart = Heart(lease, writer_url(chosen))
    try:
        run(chosen, heart, stop, rebuild=rebuild)
    except LeaseLost as loss:
        log.warning("stopped: the lease is lost", reason=str(loss))
        return EXIT_NOT_OWNER
    except (StreamingQueryException, MarketDataError, psycopg.Error, KafkaException, *_JVM_GONE) as failure:
        reason = "the JVM is gone" if isinstance(failure, _JVM_GONE) else reason_of(failure)
        log.exception("the stream failed", reason=reason)
        with contextlib.suppress(psycopg.Error):  # PostgreSQL itself may be what failed
            heart.lease.release(last_error=reason)
        return EXIT_FAILED
    heart.lease.release()
    log.info("stopped orderly")
    return 0


def run(chosen: Settings, heart: Heart, stop: threading.Event, *, rebuild: bool = False) -> None:
    """Start the queries and watch them until told to stop. Raises what a query raised, or LeaseLost."""
    spark_chosen = spark_settings()
    spark = open_session("market_stream", spark_chosen)
    try:
        sinks = [make_sink(chosen, heart.lease.epoch, name, rebuild=rebuild) for name in ASSET_CLASSES]
        queries = [start_query(spark, chosen, spark_chosen, sink) for sink in sinks]
        chores = Chores(chosen, heart.lease.epoch, sinks)
        watch = ProgressWatch(time.monotonic)
        while not stop.wait(HEARTBEAT_SECONDS):
            for query in queries:
                raise_if_ended(query)
                progress = query.lastProgress
                watch.look(query.name, None if progress is None else progress.timestamp)
            heart.beat({"queries": {q.name: progress_of(q) for q in queries}, "spark_ui": spark.sparkContext.uiWebUrl})
            chores.do()
        for query in queries:
            query.stop()
    finally:
        with contextlib.suppress(*_JVM_GONE):
            spark.stop()


def make_sink(chosen: Settings, epoch: int, asset_class: AssetClass, *, rebuild: bool) -> EventSink:
    """The sink of one asset class, on a checkpoint that may be continued. Raises CheckpointRefused."""
    name = f"events_{asset_class}"
    servers = required(chosen.kafka_bootstrap_servers, "KAFKA_BOOTSTRAP_SERVERS")
    store = StreamStore(writer_url(chosen), epoch)
    folder = chosen.state_dir / "checkpoints" / "v1" / name
    sink = EventSink(
        query_name=name,
        asset_class=asset_class,
        checkpoint_id=open_checkpoint(folder, name, topic_id(servers, EVENTS[asset_class]), store, rebuild=rebuild),
        epoch=epoch,
        watermark_delay=timedelta(seconds=chosen.watermark_seconds),
        store=store,
        cache=CacheManager(required(chosen.redis_url, "REDIS_URL")),
        on_commit=LagMirror(servers, name),
    )
    sink.refill_cache()
    return sink


def start_query(spark: SparkSession, chosen: Settings, spark_chosen: SparkSettings, sink: EventSink) -> StreamingQuery:
    """One query a class: each has its own watermark, and the trouble of one does not stop the other's state."""
    servers = required(chosen.kafka_bootstrap_servers, "KAFKA_BOOTSTRAP_SERVERS")
    records = read_events(spark, servers, sink.asset_class, spark_chosen.max_offsets_per_trigger)
    # Refused records have no event time, so a date in the far future cannot move the watermark.
    parsed = parse(records, sink.asset_class).withWatermark("event_time", f"{chosen.watermark_seconds} seconds")
    return (
        parsed.writeStream.queryName(sink.query_name)
        .option("checkpointLocation", str(chosen.state_dir / "checkpoints" / "v1" / sink.query_name))
        .trigger(processingTime=spark_chosen.trigger)
        .foreachBatch(sink.write)
        .start()
    )


class Heart:
    """The lease's heartbeat, which outlives a short absence of PostgreSQL as the batches do."""

    def __init__(self, lease: Lease, database_url: str) -> None:
        self.lease = lease
        self._url = database_url
        self._last_beat = time.monotonic()

    def beat(self, details: dict[str, Any]) -> None:
        """Raises LeaseLost, or psycopg.Error when PostgreSQL stays away for longer than a batch waits."""
        try:
            if not self.lease.heartbeat(details):
                raise LeaseLost(f"epoch {self.lease.epoch} is over")
        except psycopg.OperationalError as failure:
            if time.monotonic() - self._last_beat > OUTAGE_SECONDS:
                raise
            log.warning("no heartbeat: PostgreSQL is away", reason=str(failure).strip())
            self._reconnect()
        else:
            self._last_beat = time.monotonic()

    def _reconnect(self) -> None:
        with contextlib.suppress(psycopg.OperationalError):  # still away: the next beat tries again
            connected = Lease(self._url)
            connected.epoch = self.lease.epoch
            self.lease.close()
            self.lease = connected


class Chores:
    """What the driver does between batches, on a connection of its own: silent markets, anomalies to Kafka."""

    def __init__(self, chosen: Settings, epoch: int, sinks: Sequence[EventSink]) -> None:
        self._store = StreamStore(writer_url(chosen), epoch)
        self._sinks = [_beside(sink, self._store) for sink in sinks]
        self._topic = AnomalyTopic(required(chosen.kafka_bootstrap_servers, "KAFKA_BOOTSTRAP_SERVERS"))

    def do(self) -> None:
        """Each is tried again at the next heartbeat; neither may stop the stream."""
        try:
            for sink in self._sinks:
                sink.finalise_silent()
            while self._store.send_anomalies(self._topic):
                pass
        except (psycopg.Error, PublishError, KafkaException) as failure:
            log.warning("left for the next heartbeat", reason=str(failure).strip())


def writer_url(chosen: Settings) -> str:
    return required(chosen.writer_database_url or chosen.database_url, "WRITER_DATABASE_URL")


def _beside(sink: EventSink, store: StreamStore) -> EventSink:
    return replace(sink, store=store)


if __name__ == "__main__":
    code = main()
    sys.stderr.flush()
    # Not sys.exit: py4j's threads and exit handlers would wait for a JVM that may be gone.
    os._exit(code)
