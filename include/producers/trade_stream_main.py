"""The trade stream as a process: `python -m include.producers.trade_stream_main`.

With CRYPTO_STREAMING off it only completes what an earlier one has begun. Exit codes: 0 stopped orderly,
1 failed (the reason is in the lease), 3 another process has the lease.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace

import psycopg
import structlog

from include.errors import LeaseLost, MarketDataError
from include.logs import log_to_stderr
from include.market.event import Source
from include.market.instrument import Instrument
from include.producers.failover import Candidate
from include.producers.ingestion import system_clock
from include.producers.publisher import KafkaPublisher
from include.producers.shared_gate import SharedGate
from include.producers.spool import Spool
from include.producers.trade_fallback import QuoteFallback
from include.producers.trade_parts import StreamParts, StreamRules
from include.producers.trade_stream import TradeStream
from include.settings import Settings, required, settings
from include.sources.base import QUOTES
from include.sources.catalogue import catalogue
from include.sources.registry import build_client, chain, declarations
from include.storage.lease import Lease
from include.storage.source_switches import SourceSwitches
from include.storage.trade_coverage import APPLICATION, PostgresCoverage

SOURCE: Source = "binance"
#: A broker that is away holds a write up for so long; then it is on disk, and the next one goes on.
SEND_SECONDS = 5.0
EXIT_FAILED, EXIT_NOT_OWNER = 1, 3

log = structlog.get_logger("trades")


def main() -> int:
    log_to_stderr()
    chosen = settings()
    try:
        lease = Lease(_writer_url(chosen), APPLICATION)
        lease.acquire(f"{socket.gethostname()}:{os.getpid()}", os.getpid())
    except LeaseLost as refusal:
        log.warning("not starting", reason=str(refusal))
        return EXIT_NOT_OWNER
    try:
        asyncio.run(_stream(chosen, lease))
    except LeaseLost as loss:
        log.warning("stopped: the lease is lost", reason=str(loss))
        return EXIT_NOT_OWNER
    except (MarketDataError, psycopg.Error, OSError) as failure:
        reason = (str(failure).splitlines() or [type(failure).__name__])[0][:500]
        log.exception("the trade stream failed", reason=reason)
        with suppress(psycopg.Error):  # PostgreSQL itself may be what failed
            lease.release(last_error=reason)
        return EXIT_FAILED
    lease.release()
    log.info("stopped orderly")
    return 0


async def _stream(chosen: Settings, lease: Lease) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    instruments = catalogue().select("CRYPTO_SYMBOLS", chosen.crypto_symbols, "crypto")
    with _parts(chosen, lease, instruments) as parts:
        stream = TradeStream(instruments, chosen.binance_stream_url, parts, stream_rules(chosen))
        await (stream.run(stop) if chosen.crypto_streaming else stream.finish(stop))


@contextmanager
def _parts(chosen: Settings, lease: Lease, instruments: list[Instrument]) -> Iterator[StreamParts]:
    """The parts on the running stack's stores, closed in the end."""
    gate = SharedGate.connected(declarations(chosen), chosen)
    candidates = [
        Candidate(build_client(source.declaration.name, chosen, gate, system_clock), capability)
        for source, capability in chain("crypto", QUOTES, chosen)
        if source.declaration.name != SOURCE
    ]
    fallback = QuoteFallback(SOURCE, candidates, instruments, SourceSwitches(_writer_url(chosen)))
    servers = required(chosen.kafka_bootstrap_servers, "KAFKA_BOOTSTRAP_SERVERS")
    spool = Spool(chosen.state_dir / "spool" / "trades.sqlite", chosen.spool_max_megabytes)
    parts = StreamParts(
        client=build_client(SOURCE, chosen, gate, system_clock),
        publisher=KafkaPublisher(servers, spool, SEND_SECONDS),
        store=PostgresCoverage(_writer_url(chosen), SOURCE, lease.epoch),
        lease=lease,
        fallback=fallback,
        clock=system_clock,
    )
    try:
        yield parts
    finally:
        parts.publisher.close()
        for client in (parts.client, *(candidate.client for candidate in candidates)):
            client.close()
        gate.close()


def stream_rules(chosen: Settings) -> StreamRules:
    """The rules, with what the settings say."""
    rules = StreamRules()
    return replace(
        rules,
        silence_seconds=chosen.stream_silence_seconds,
        rotation_seconds=chosen.stream_rotation_hours * 3600,
    )


def _writer_url(chosen: Settings) -> str:
    return required(chosen.writer_database_url or chosen.database_url, "WRITER_DATABASE_URL")


if __name__ == "__main__":
    sys.exit(main())
