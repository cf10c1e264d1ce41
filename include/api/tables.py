"""Rows as JSON, CSV or Parquet: the same columns and the same exact figures in each."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from operator import attrgetter
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq
from fastapi import Response
from pydantic import BaseModel

from include.api.paging import LINK_HEADER, links
from include.api.schemas import figure, iso

Format = Literal["json", "csv", "parquet"]
CSV_TYPE = "text/csv; charset=utf-8; header=present"
PARQUET_TYPE = "application/vnd.apache.parquet"
#: What a route over a table can answer with, for the OpenAPI document.
ANSWERS: dict[str, Any] = {
    "content": {
        "text/csv": {"schema": {"type": "string"}},
        PARQUET_TYPE: {"schema": {"type": "string", "format": "binary"}},
    },
    "headers": LINK_HEADER,
}

_MOMENT = pa.timestamp("us", tz="UTC")
_PRICE, _VOLUME, _VWAP = pa.decimal128(18, 8), pa.decimal128(28, 8), pa.decimal128(28, 12)
_KEY = [("symbol", pa.string()), ("interval", pa.string()), ("window_start", _MOMENT)]

CANDLES = pa.schema(
    [
        *_KEY,
        *((name, _PRICE) for name in ("open", "high", "low", "close")),
        ("volume", _VOLUME),
        ("vwap", _VWAP),
        ("event_count", pa.int64()),
        ("source", pa.string()),
        ("is_final", pa.bool_()),
        ("updated_at", _MOMENT),
    ]
)
INDICATORS = pa.schema(
    [
        *_KEY,
        *((name, pa.float64()) for name in ("sma_20", "ema_12", "ema_26")),
        *((f"bollinger_{name}", pa.float64()) for name in ("upper", "middle", "lower")),
        ("volatility_20", pa.float64()),
    ]
)
ANOMALIES = pa.schema(
    [
        *_KEY,
        ("metric", pa.string()),
        *((name, pa.float64()) for name in ("value", "mean", "stddev", "z_score")),
        ("severity", pa.string()),
        ("detected_at", _MOMENT),
    ]
)
EVENTS = pa.schema(
    [
        *((name, pa.string()) for name in ("event_id", "symbol", "source", "kind")),
        ("event_time", _MOMENT),
        ("interval_seconds", pa.int64()),
        *((name, _PRICE) for name in ("open", "high", "low", "close")),
        ("volume", _VOLUME),
        ("currency", pa.string()),
        ("ingested_at", _MOMENT),
        *((name, pa.int64()) for name in ("kafka_partition", "kafka_offset", "revision")),
    ]
)


@dataclass(frozen=True, slots=True)
class Table:
    """`rows` have an attribute for each column; `name` is that of the file, without its ending."""

    name: str
    market: str
    columns: pa.Schema
    rows: Sequence[object]


def served(format: Format, table: Table, page: Callable[[], BaseModel], next_page: str | None) -> Response:
    """The table in that format; `page` is the JSON answer, and is made only where it is wanted."""
    headers = links(next_page)
    if format == "json":
        return Response(page().model_dump_json(), media_type="application/json", headers=headers)
    headers["Content-Disposition"] = f'attachment; filename="{table.name}.{format}"'
    if format == "csv":
        return Response(as_csv(table), media_type=CSV_TYPE, headers=headers)
    return Response(as_parquet(table), media_type=PARQUET_TYPE, headers=headers)


def as_csv(table: Table) -> str:
    """A header, then one line a row; what is not known is empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(table.columns.names)
    values = attrgetter(*table.columns.names)
    writer.writerows([_text(value) for value in values(row)] for row in table.rows)
    return text.getvalue()


def as_parquet(table: Table) -> bytes:
    """Decimals and times in their own types; the market stands in the file's metadata."""
    columns = [pa.array(map(attrgetter(field.name), table.rows), field.type) for field in table.columns]
    schema = table.columns.with_metadata({"market": table.market})
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_arrays(columns, schema=schema), sink, compression="zstd")
    content: bytes = sink.getvalue().to_pybytes()
    return content


def _text(value: object) -> str:
    # The same words as in JSON.
    if value is None:
        return ""
    if isinstance(value, Decimal):
        return figure(value)
    if isinstance(value, datetime):
        return iso(value)
    return str(value).lower() if isinstance(value, bool) else str(value)
