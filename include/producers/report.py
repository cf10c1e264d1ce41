"""What one ingestion batch did, for a table, a log line and an XCom."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from include.market.event import AssetClass, Source


@dataclass(frozen=True, slots=True)
class SourceReport:
    """Counts of what one source gave; `failed` has the reason by symbol, `dropped` the count by reason."""

    source: Source
    requested: tuple[str, ...]
    bars: int
    quotes: int
    trades: int
    #: Facts that went to the dead letters.
    rejected: int
    failed: Mapping[str, str]
    dropped: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class IngestionReport:
    """One batch of one asset class; `sources` is empty where no symbol is configured."""

    asset_class: AssetClass
    sources: tuple[SourceReport, ...] = ()
    #: `bar60: yahoo -> alpha_vantage: <reason>`
    switches: tuple[str, ...] = ()
    #: Facts that are safe on disk and wait for Kafka.
    waiting: int = 0
    seconds: float = 0.0
    dry_run: bool = field(default=False)

    COLUMNS = ("source", "symbols", "bars", "quotes", "rejected", "failed")

    def rows(self) -> list[tuple[str, ...]]:
        """One row a source, in the order of COLUMNS."""
        return [
            (
                report.source,
                str(len(report.requested)),
                str(report.bars),
                str(report.quotes),
                str(report.rejected),
                "; ".join(f"{symbol}: {reason}" for symbol, reason in report.failed.items()) or "-",
            )
            for report in self.sources
        ]

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return asdict(self)
