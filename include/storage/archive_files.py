"""Rows of a day as a Parquet file that is whole or not there, and back as slices of bounded size."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
from psycopg.sql import Composed
from pyarrow import csv

from include.market.tables import TIME

#: Rows in memory at a time.
SLICE_ROWS = 65_536
#: Rows that are decompressed together: fewer make the file larger, more make a reader of one symbol wait.
GROUP_ROWS = 16_384
#: Only an empty field is null: an event of a symbol `NA`, or an observed `null`, is what it says.
_EXACT = {"null_values": [""], "strings_can_be_null": True, "quoted_strings_can_be_null": False}
_TYPES = {
    "text": pa.string(), "jsonb": pa.string(), "timestamp with time zone": TIME, "boolean": pa.bool_(),
    "integer": pa.int32(), "bigint": pa.int64(), "double precision": pa.float64(),
}  # fmt: skip


def arrow_type(postgres_type: str) -> pa.DataType:
    """Of a column as `format_type` names it. Raises KeyError for a type that is in no table kept by day."""
    if postgres_type.startswith("numeric("):
        precision, scale = postgres_type[len("numeric(") : -1].split(",")
        return pa.decimal128(int(precision), int(scale))
    return _TYPES[postgres_type]


def copied_slices(cursor: psycopg.Cursor[Any], statement: Composed, schema: pa.Schema) -> Iterator[pa.Table]:
    """The rows of a `COPY ... TO STDOUT (FORMAT csv)` in the order of `schema`, at most SLICE_ROWS at a time."""
    convert = csv.ConvertOptions(column_types=schema, true_values=["t"], false_values=["f"], **_EXACT)
    read, parse = csv.ReadOptions(column_names=schema.names), csv.ParseOptions(newlines_in_values=True)
    with cursor.copy(statement) as copy:
        rows = iter(copy)
        # The protocol gives whole rows, so a slice never ends inside one.
        while body := b"".join(bytes(row) for row in islice(rows, SLICE_ROWS)):
            yield csv.read_csv(io.BytesIO(body), read, parse, convert)


def write_part(path: Path, slices: Iterable[pa.Table], schema: pa.Schema) -> None:
    """Write the file under another name, flush it to the disk, then give it its name. Never replaces a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".unfinished")
    with unfinished.open("wb") as file:
        with pq.ParquetWriter(file, schema, compression="zstd") as writer:
            for rows in slices:
                writer.write_table(rows, row_group_size=GROUP_ROWS)
        file.flush()
        os.fsync(file.fileno())
    if path.exists():
        raise FileExistsError(f"{path} is there already")
    unfinished.rename(path)
    # A name is safe when its folder is: the day's, the relation's and the archive's may be new.
    for folder in list(path.parents)[:3]:
        _flush(folder)


def read_part(path: Path) -> Iterator[pa.Table]:
    """The rows of a file, at most SLICE_ROWS at a time."""
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(SLICE_ROWS):
            yield pa.Table.from_batches([batch])


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _flush(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
