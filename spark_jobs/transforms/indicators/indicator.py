"""What an indicator is, and what it sees."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from spark_jobs.transforms.series import FloatArray, Series


@dataclass(frozen=True, slots=True)
class History:
    """Candles of many (symbol, interval), oldest first in each. Null volumes and returns are NaN.

    `seeds`: by column of an indicator, its known figure at the first candle of a run, NaN where that candle is
    the first there is.
    """

    close: Series
    volume: Series
    log_return: Series
    seeds: Mapping[str, FloatArray]


@dataclass(frozen=True, slots=True)
class Indicator:
    """Columns and the function that fills them, an array each, NaN for null.

    `closes`, `returns`, `volumes`: how many of the last non-null ones it looks at, which is how far back the
    stream must read. `seeded`: it goes on from its own figure at the candle before, so its columns need seeds.
    """

    columns: tuple[str, ...]
    compute: Callable[[History], tuple[FloatArray, ...]]
    closes: int = 1
    returns: int = 0
    volumes: int = 0
    seeded: bool = False
