"""One number over the raw rows of a batch: another digit, time or offset of any of them makes it another.

`market.control_figure` (SQL) says the same of the rows as they stand in the table. Modulo 2^64, which is what whole
numbers of a machine do by themselves, and how exact decimals of any length go into it: by their lowest 64 bits.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from include.market.event import MAX_DECIMALS

#: Odd and all different, so that no two columns may change places.
WEIGHTS = {"event_time": 1, "interval_seconds": 3, "open": 5, "high": 7, "low": 11, "close": 13, "volume": 17,
           "ingested_at": 19}  # fmt: skip
#: What a volume counts that the source does not say; none is below zero.
UNKNOWN = -1

Words = npt.NDArray[np.uint64]


def control_sum(events: pa.Table) -> int:
    """Over stored events (the columns of `market_events`), 0 <= sum < 2^64; 0 for none. Every row has its offset.

    Times count in microseconds, prices and volume in units of 1e-8. A row weighs 2 * offset + 1: an odd number, so no
    change of a single figure is lost, and two rows may not change places.
    """
    if events.num_rows == 0:
        return 0
    total = np.zeros(events.num_rows, np.uint64)
    for name, weight in WEIGHTS.items():
        total += np.uint64(weight) * _words(events[name])
    total *= np.uint64(2) * _words(events["kafka_offset"]) + np.uint64(1)
    return int(total.sum(dtype=np.uint64))


def _words(column: pa.ChunkedArray) -> Words:
    """Each figure modulo 2^64."""
    if not pa.types.is_decimal(column.type):
        whole: Words = column.cast(pa.int64()).to_numpy().view(np.uint64)
        return whole
    assert column.type.scale == MAX_DECIMALS  # as numeric(18,8) and numeric(28,8) are
    figures = column.combine_chunks()
    # 16 bytes each, the lower half first; what stands under a null is nothing to go by.
    halves = np.frombuffer(figures.buffers()[1], np.uint64).reshape(-1, 2)
    lower = halves[figures.offset : figures.offset + len(figures), 0]
    if figures.null_count == 0:
        return lower
    return np.where(pc.is_valid(figures).to_numpy(zero_copy_only=False), lower, np.int64(UNKNOWN).astype(np.uint64))
