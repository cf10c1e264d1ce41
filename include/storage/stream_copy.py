"""Arrow tables in and out of PostgreSQL by COPY: no row passes through Python by itself."""

from __future__ import annotations

import io
from typing import Any

import psycopg
import pyarrow as pa
from psycopg.sql import SQL, Composed
from pyarrow import csv

SLICE_ROWS = 8_192
_PLAIN = csv.WriteOptions(include_header=False, quoting_style="needed")


def copy_in(cursor: psycopg.Cursor[Any], target: str, table: pa.Table) -> None:
    """Append the rows to `target`, a table or `table (columns)`, columns in this order."""
    if table.num_rows == 0:
        return
    rows = _without_zones(table)
    with cursor.copy(f"COPY {target} FROM STDIN (FORMAT csv)") as copy:
        # Slice by slice: the server stores one while the next is written as text.
        for first in range(0, rows.num_rows, SLICE_ROWS):
            buffer = io.BytesIO()
            csv.write_csv(rows.slice(first, SLICE_ROWS), buffer, _PLAIN)
            copy.write(buffer.getbuffer())


def copy_out(cursor: psycopg.Cursor[Any], statement: str | SQL | Composed, schema: pa.Schema) -> pa.Table:
    """The rows of a `COPY ... TO STDOUT (FORMAT csv, HEADER)` whose columns are those of `schema`."""
    with cursor.copy(SQL(statement) if isinstance(statement, str) else statement) as copy:
        body = b"".join(bytes(part) for part in copy)
    options = csv.ConvertOptions(
        column_types=schema,
        include_columns=schema.names,
        # A symbol may be called NA or NULL.
        null_values=[""],
        strings_can_be_null=True,
        quoted_strings_can_be_null=False,
        true_values=["t"],
        false_values=["f"],
    )
    return csv.read_csv(io.BytesIO(body), convert_options=options)


def _without_zones(table: pa.Table) -> pa.Table:
    # Arrow writes a time with its zone fifteen times as slowly; our sessions speak UTC.
    fields = [
        pa.field(field.name, pa.timestamp(field.type.unit)) if pa.types.is_timestamp(field.type) else field
        for field in table.schema
    ]
    return table.cast(pa.schema(fields))
