"""One poll of an asset class: each kind of fact from the source that can give it now, published, confirmed."""

from __future__ import annotations

import time
from collections.abc import Sequence

import structlog

from include.market.instrument import Instrument
from include.producers.batch import Batch
from include.producers.failover import SourceChain
from include.producers.poll import Poll, Rules
from include.producers.publisher import Publisher
from include.producers.report import IngestionReport
from include.producers.watermarks import Watermarks
from include.sources.gate import Gate

log = structlog.get_logger(__name__)


def system_clock() -> int:
    """Now, in UTC epoch microseconds."""
    return time.time_ns() // 1_000


class Ingestion:
    """The polls of one asset class; everything it works with is passed in."""

    def __init__(
        self,
        chains: Sequence[SourceChain],
        rules: Rules,
        gate: Gate,
        publisher: Publisher,
        watermarks: Watermarks,
    ) -> None:
        self._chains = chains
        self._rules = rules
        self._gate = gate
        self._publisher = publisher
        self._watermarks = watermarks

    def run(self, instruments: Sequence[Instrument]) -> IngestionReport:
        """One poll. A symbol or a source that fails is in the report and stops no other.

        Raises PublishError where not every fact is safe (no watermark moves: the next poll sends it
        again, under the same event ids), and the first error where no source answered for anything.
        """
        began = time.monotonic()
        batch = Batch(self._publisher, self._watermarks)
        poll = Poll(self._rules, batch, self._gate)
        for chain in self._chains:
            poll.serve(chain, instruments)
        waiting = batch.confirm()
        report = IngestionReport(
            asset_class=self._chains[0].asset_class,
            sources=tuple(tally.report(name) for name, tally in batch.tallies.items()),
            switches=tuple(f"{s.want}: {s.from_source} -> {s.to_source}: {s.reason}" for s in poll.switches),
            waiting=waiting,
            seconds=round(time.monotonic() - began, 3),
        )
        log.info("batch.published", **report.as_dict())
        if poll.errors and not poll.answered:
            raise poll.errors[0]
        return report
