"""The stream's queries: lag, rates, batch, watermark, and what was late or refused within an hour."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from dash import html

from include.dashboard.components.notice import notice
from include.dashboard.components.table import table
from include.dashboard.formatting import NOT_KNOWN, age_text
from include.dashboard.operations_view import StreamPicture
from include.dashboard.operations_words import is_alive, moment_of, watermark_of
from include.dashboard.quality_words import WARNED
from include.storage.operations_rows import QueryFigures

_COLUMNS = (
    "Query", "Lag", "Events in", "Processed", "Batch", "Committed", "p95 of a batch", "Watermark", "Behind",
    "Rows in 1 h", "Late in 1 h", "Dead in 1 h",
)  # fmt: skip


def stream_queries(picture: StreamPicture, now: datetime) -> Any:
    """One row a query. Rates and lag are the driver's own word, batches the ledger's."""
    lease = picture.lease
    said = {} if lease is None else lease.details.get("queries", {})
    told = {each.query_name: each for each in picture.queries}
    names = sorted({*said, *told})
    if not names:
        return notice("No query has begun", "the first batch makes its row")
    alive = lease is not None and is_alive(lease, now)
    rows = [_row(name, said.get(name, {}), told.get(name), now) for name in names]
    whose = "as the driver said at its last heartbeat" if alive else "as the driver said last: it is not running"
    return table(_COLUMNS, rows, f"Lag, rates and watermark {whose}; the rest is the ledger's")


def _row(name: str, said: dict[str, Any], told: QueryFigures | None, now: datetime) -> list[Any]:
    watermark = watermark_of(said.get("watermark"))
    p95 = said.get("batch_seconds_p95")
    batch = said.get("batch_id") if told is None else told.batch_id
    return [
        name,
        _count(said.get("lag"), "events"),
        _rate(said.get("input_rows_per_second")),
        _rate(said.get("rows_per_second")),
        NOT_KNOWN if batch is None else f"{batch:,}",
        NOT_KNOWN if told is None else f"{age_text((now - told.committed_at).total_seconds())} ago",
        NOT_KNOWN if p95 is None else f"{p95:.2f} s",
        NOT_KNOWN if watermark is None else moment_of(watermark, now),
        NOT_KNOWN if watermark is None else age_text((now - watermark).total_seconds()),
        NOT_KNOWN if told is None else f"{told.rows_in:,}",
        NOT_KNOWN if told is None else _trouble(told.rows_late),
        NOT_KNOWN if told is None else _trouble(told.rows_dead_lettered),
    ]


def _count(value: Any, unit: str) -> str:
    return NOT_KNOWN if value is None else f"{value:,} {unit}"


def _rate(value: Any) -> str:
    return NOT_KNOWN if value is None else f"{value:,.1f}/s"


def _trouble(count: int) -> Any:
    return "0" if not count else html.Span([html.Span(WARNED, className="sign"), f"{count:,}"], className="warning")
