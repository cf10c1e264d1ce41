"""Events, partials and candles as Arrow tables: the types of their columns, for whoever computes and whoever stores."""

from __future__ import annotations

import pyarrow as pa

from include.market.candle import FIGURES, KEY, PARTIAL_FIGURES, PARTIAL_KEY

TIME = pa.timestamp("us", tz="UTC")
PRICE, VOLUME, VWAP = pa.decimal128(18, 8), pa.decimal128(28, 8), pa.decimal128(28, 12)
#: Sums: of volumes, and of (high + low + close) · volume as whole numbers of 1e-16; wider than any real market.
VOLUME_SUM, WEIGHTED_SUM = pa.decimal128(38, 8), pa.decimal128(38, 0)

_PRICES = dict.fromkeys(("open", "high", "low", "close"), PRICE)
_EVENT = {
    "event_id": pa.string(), "symbol": pa.string(), "source": pa.string(), "kind": pa.string(),
    "event_time": TIME, "interval_seconds": pa.int32(), **_PRICES, "volume": VOLUME,
    "kafka_partition": pa.int32(), "kafka_offset": pa.int64(), "revision": pa.int32(),
}  # fmt: skip
_CANDLE = {
    "symbol": pa.string(), "interval": pa.string(), "window_start": TIME, **_PRICES,
    "volume": VOLUME, "vwap": VWAP, "event_count": pa.int32(), "source": pa.string(),
}  # fmt: skip
_PLACE = {"time": TIME, "offset": pa.int64(), "partition": pa.int32(), "id": pa.string()}
_PARTIAL = _CANDLE | {
    "is_quote": pa.bool_(), "volume": VOLUME_SUM, "weighted": WEIGHTED_SUM,
    **{f"{end}_{name}": kind for end in ("first", "last") for name, kind in _PLACE.items()},
    **dict.fromkeys(("volumes", "weights", "event_count"), pa.int64()),
}  # fmt: skip
#: What candles are computed from, with all revisions.
EVENT_SCHEMA = pa.schema(_EVENT)
CANDLE_SCHEMA = pa.schema([(name, _CANDLE[name]) for name in (*KEY, *FIGURES)])
PARTIAL_SCHEMA = pa.schema([(name, _PARTIAL[name]) for name in (*PARTIAL_KEY, *PARTIAL_FIGURES)])
