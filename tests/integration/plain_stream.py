"""The stream of `warehouse.py` without Spark around it: records are parsed in this process, the rest is the same."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from include.market.event import AssetClass
from spark_jobs.transforms.parse import parse_table
from tests.integration.warehouse import Stream, Warehouse, driver


@dataclass(frozen=True)
class _Parsed:
    rows: pa.Table

    def toArrow(self) -> pa.Table:
        return self.rows


@dataclass
class PlainStream(Stream):
    """`topic_id`: what the checkpoints of this driver are known to count."""

    topic_id: str = "topic"

    def _parsed(self, records: pa.Table) -> Any:
        return _Parsed(parse_table(records, self.asset_class))

    def _sink(self) -> Any:
        sink = super()._sink()
        sink.store.know_checkpoint(self.name, sink.checkpoint_id, self.topic_id)
        return sink


@contextmanager
def plain_stream(warehouse: Warehouse, asset_class: AssetClass = "stock", **more: Any) -> Iterator[PlainStream]:
    """A driver of its own, with the lease."""
    with driver(warehouse) as next_epoch:
        stream = PlainStream(None, warehouse, asset_class, next_epoch(), **more)  # type: ignore[arg-type]
        try:
            yield stream
        finally:
            stream.close()
