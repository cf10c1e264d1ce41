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
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import psycopg
import redis
import structlog
from confluent_kafka import KafkaException
from py4j.protocol import Py4JError  # type: ignore[import-untyped]
from pyspark.sql import SparkSession
from pyspark.sql.streaming.query import StreamingQuery

from include.errors import LeaseLost, PublishError
from include.logs import log_to_stderr
from include.market.event import ASSET_CLASSES, AssetClass
from include.market.topics import EVENTS
from include.settings import Settings, required, settings
from include.storage.cache import CacheManager
from include.storage.lease import Lease
from include.storage.stream_store import StreamStore
from spark_jobs.broker import AnomalyTopic, LagMirror, topic_id
from spark_jobs.checkpoints import open_checkpoint
from spark_jobs.lineage import StreamLineage
from spark_jobs.readers import read_events
from spark_jobs.session import SparkSettings, open_session, spark_settings
from spark_jobs.sinks import OUTAGE_SECONDS, EventSink
from spark_jobs.transforms.parse import parse
from spark_jobs.watch import Figures, raise_if_ended, reason_of

HEARTBEAT_SECONDS = 2.0
CHORES_SECONDS = 2.0
CHORES_END_SECONDS = 5.0
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
    trouble: list[dict[str, Any]] = []
    try:
        run(chosen, heart, stop, trouble.append, rebuild=rebuild)
    except LeaseLost as loss:
        log.warning("stopped: the lease is lost", reason=str(loss))
        return EXIT_NOT_OWNER
    except Exception as failure:  # whatever ended the stream is said in the lease before we go
        reason = "the JVM is gone" if isinstance(failure, _JVM_GONE) else reason_of(failure)
        with contextlib.suppress(psycopg.Error):  # PostgreSQL itself may be what failed
            heart.lease.release(last_error=reason, failed_batch=trouble[-1] if trouble else None)
        with contextlib.suppress(BrokenPipeError):  # our output goes through the JVM
            log.exception("the stream failed", reason=reason)
        return EXIT_FAILED
    heart.lease.release()
    log.info("stopped orderly")
    return 0


def run(
    chosen: Settings,
    heart: Heart,
    stop: threading.Event,
    on_failure: Callable[[dict[str, Any]], None],
    *,
    rebuild: bool = False,
) -> None:
    """Start the queries and watch them until told to stop. Raises what a query raised, or LeaseLost."""
    spark_chosen = spark_settings()
    spark = open_session("market_stream", spark_chosen)
    try:
        epoch = heart.lease.epoch
        servers = required(chosen.kafka_bootstrap_servers, "KAFKA_BOOTSTRAP_SERVERS")
        mirrors = {name: LagMirror(servers, query_name(name)) for name in ASSET_CLASSES}
        made = {name: make_sink(chosen, epoch, name, rebuild=rebuild) for name in ASSET_CLASSES}
        with StreamLineage.of(chosen, made, spark.version) as told:
            sinks = [
                replace(sink, on_commit=told.noted(name, mirrors[name].note), on_failure=on_failure)
                for name, sink in made.items()
            ]
            queries = [start_query(spark, chosen, spark_chosen, sink) for sink in sinks]
            chores = Chores(chosen, epoch, sinks, list(mirrors.values()))
            chores.start()
            figures, ui = Figures(), spark.sparkContext.uiWebUrl
            while not (stop.wait(HEARTBEAT_SECONDS) or heart.lease.is_stop_asked):
                for query in queries:
                    raise_if_ended(query)
                heart.beat({"queries": {q.name: figures.of(q) for q in queries}, "spark_ui": ui})
            for query in queries:
                query.stop()
            chores.end()
    finally:
        with contextlib.suppress(*_JVM_GONE):
            spark.stop()


def query_name(asset_class: AssetClass) -> str:
    return f"events_{asset_class}"


def make_sink(chosen: Settings, epoch: int, asset_class: AssetClass, *, rebuild: bool) -> EventSink:
    """The sink of one asset class, on a checkpoint that may be continued. Raises CheckpointRefused."""
    name = query_name(asset_class)
    servers = required(chosen.kafka_bootstrap_servers, "KAFKA_BOOTSTRAP_SERVERS")
    store = StreamStore(writer_url(chosen), epoch)
    folder = chosen.state_dir / "checkpoints" / "v1" / name
    return EventSink(
        query_name=name,
        asset_class=asset_class,
        checkpoint_id=open_checkpoint(folder, name, topic_id(servers, EVENTS[asset_class]), store, rebuild=rebuild),
        epoch=epoch,
        watermark_delay=timedelta(seconds=chosen.watermark_seconds),
        store=store,
        cache=CacheManager(required(chosen.redis_url, "REDIS_URL")),
    )


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
            connected = Lease(self._url, epoch=self.lease.epoch)
            self.lease.close()
            self.lease = connected


class Chores(threading.Thread):
    """What the driver does beside the batches: silent markets, anomalies and lag to Kafka.

    A thread and a connection of its own: a broker or a lock that keeps it waiting must not stop the heart.
    """

    def __init__(self, chosen: Settings, epoch: int, sinks: Sequence[EventSink], mirrors: Sequence[LagMirror]) -> None:
        super().__init__(name="chores", daemon=True)
        self._store = StreamStore(writer_url(chosen), epoch)
        self._sinks = [replace(sink, store=self._store) for sink in sinks]
        self._mirrors = mirrors
        self._topic = AnomalyTopic(required(chosen.kafka_bootstrap_servers, "KAFKA_BOOTSTRAP_SERVERS"))
        self._ending = threading.Event()

    def run(self) -> None:
        while not self._ending.wait(CHORES_SECONDS):
            self.do()

    def end(self) -> None:
        """Finish the round that goes on; what is left comes with the next driver."""
        self._ending.set()
        self.join(CHORES_END_SECONDS)

    def do(self) -> None:
        """What fails is tried again in the next round; nothing here may stop the stream."""
        try:
            for sink in self._sinks:
                sink.finalise_silent()
            self._refill_cache()
            while self._store.send_anomalies(self._topic):
                pass
            for mirror in self._mirrors:
                mirror.send()
        except (psycopg.Error, redis.RedisError, PublishError, KafkaException, LeaseLost) as failure:
            log.warning("left for the next round", reason=str(failure).strip())

    def _refill_cache(self) -> None:
        """Redis may have been emptied, or come back with what it had a minute ago; at the start, too."""
        cache = self._sinks[0].cache
        if cache.is_filled():
            return
        for sink in self._sinks:
            sink.refill_cache()
        cache.mark_filled()


def writer_url(chosen: Settings) -> str:
    return required(chosen.writer_database_url or chosen.database_url, "WRITER_DATABASE_URL")


if __name__ == "__main__":
    code = main()
    with contextlib.suppress(BrokenPipeError):
        sys.stderr.flush()
    # Not sys.exit: py4j's threads and exit handlers would wait for a JVM that may be gone.
    os._exit(code)
