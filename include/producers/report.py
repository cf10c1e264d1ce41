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
    #: Facts that went to the dead letters.
    rejected: int
    failed: Mapping[str, str]
    dropped: Mapping[str, int]
    seconds: float


@dataclass(frozen=True, slots=True)
class IngestionReport:
    """One batch of one asset class; `sources` is empty where no symbol is configured."""

    asset_class: AssetClass
    sources: tuple[SourceReport, ...] = field(default=())

    COLUMNS = ("source", "symbols", "bars", "quotes", "rejected", "failed", "seconds")

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
                f"{report.seconds:.1f}",
            )
            for report in self.sources
        ]

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return asdict(self)
