"""Whether two sides found the same: candles to the last digit, figures within 1e-9, anomalies at the same places."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from include.errors import MarketDataError
from include.market.candle import KEY
from include.market.tables import CANDLE_SCHEMA, TIME

RELATIVE, ABSOLUTE = 1e-9, 1e-13
#: What each table's rows are told apart by, and what else must agree.
_KEYS: Mapping[str, Sequence[str]] = {"candles": KEY, "indicators": KEY, "anomalies": (*KEY, "metric")}


class FiguresDiffer(MarketDataError):
    """The sides do not agree, so no time of theirs counts."""


def must_agree(ours: Mapping[str, pa.Table], theirs: Mapping[str, pa.Table], side: str) -> None:
    """`candles`, `indicators` and `anomalies` of both. Raises FiguresDiffer, which names the first difference."""
    for name, keys in _KEYS.items():
        one, other = (_ordered(tables[name], keys) for tables in (ours, theirs))
        _same_rows(one.select(keys), other.select(keys), f"{side}: {name}")
        for column in one.column_names:
            if column not in keys and column in other.column_names:
                _same_column(one[column], other[column], f"{side}: {name}.{column}")
        missing = [column for column in other.column_names if column not in one.column_names]
        if missing:
            raise FiguresDiffer(f"{side}: {name} has {', '.join(missing)}, ours has not")


def _ordered(table: pa.Table, keys: Sequence[str]) -> pa.Table:
    return _plain(table).sort_by([(name, "ascending") for name in keys])


def _plain(table: pa.Table) -> pa.Table:
    """Columns of the types that ours have: other libraries keep texts in other ways."""
    fields = []
    for field in table.schema:
        kind = CANDLE_SCHEMA.field(field.name).type if field.name in CANDLE_SCHEMA.names else field.type
        if field.name == "window_start":
            kind = TIME
        elif pa.types.is_string_view(kind) or pa.types.is_large_string(kind):
            kind = pa.string()
        fields.append(pa.field(field.name, kind))
    return table.cast(pa.schema(fields))


def _same_rows(one: pa.Table, other: pa.Table, what: str) -> None:
    if one.num_rows != other.num_rows:
        raise FiguresDiffer(f"{what}: {other.num_rows:,} rows, ours are {one.num_rows:,}")
    for name in one.column_names:
        _same_column(one[name], other[name], f"{what}.{name}")


def _same_column(one: pa.ChunkedArray, other: pa.ChunkedArray, what: str) -> None:
    if pa.types.is_floating(one.type):
        # NaN stands for null on both sides, and equals itself here.
        mine, others = one.to_numpy(), other.to_numpy()
        apart = ~np.isclose(others, mine, rtol=RELATIVE, atol=ABSOLUTE, equal_nan=True)
    else:
        same = pc.fill_null(pc.equal(one, other), pa.scalar(False))
        both_null = pc.and_(pc.is_null(one), pc.is_null(other))
        apart = ~pc.or_(same, both_null).to_numpy()
    if apart.any():
        place = int(np.flatnonzero(apart)[0])
        raise FiguresDiffer(
            f"{what}: {int(apart.sum()):,} of {len(apart):,} differ; the first is {other[place]}, ours is {one[place]}"
        )
