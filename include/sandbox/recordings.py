"""Recorded minute bars from a folder of `*.csv.gz`, read once, exact to the last digit."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from zlib import error as ZlibError

import numpy as np

from include.errors import SettingsError
from include.market.event import MAX_DECIMALS
from include.sandbox.bars import MINUTE, Bars

COLUMNS = ("symbol", "ts_utc", "open", "high", "low", "close", "volume")
#: Figures are kept as 64-bit integers of the finest unit that the recording uses.
LARGEST = 2**63 - 1

Figures = tuple[Decimal, ...]


class _BadRow(ValueError):
    """What is wrong with a row, in words."""


def read_recordings(directory: Path | None) -> dict[str, Bars]:
    """All bars by symbol. Raises SettingsError, one line that names REPLAY_DATA_DIR and the place."""
    if directory is None:
        raise SettingsError("REPLAY_DATA_DIR is not set: MARKET=replay needs a folder of *.csv.gz minute bars")
    files = sorted(directory.glob("*.csv.gz")) if directory.is_dir() else []
    if not files:
        problem = "has no *.csv.gz file" if directory.is_dir() else "is not a folder"
        raise SettingsError(f"REPLAY_DATA_DIR={directory} {problem}: it takes a folder of minute bars")
    rows: dict[str, dict[int, Figures]] = {}
    for file in files:
        for place, symbol, start, figures in _read_file(file):
            known = rows.setdefault(symbol, {}).setdefault(start, figures)
            if known != figures:
                raise SettingsError(f"REPLAY_DATA_DIR: {place}: {symbol} has two different bars for this minute")
    if not rows:
        raise SettingsError(f"REPLAY_DATA_DIR={directory} has no bar in its *.csv.gz files")
    return {symbol: _columns(symbol, minutes) for symbol, minutes in rows.items()}


def _read_file(file: Path) -> Iterator[tuple[str, str, int, Figures]]:
    try:
        with gzip.open(file, "rt", encoding="utf-8", newline="") as text:
            reader = csv.DictReader(text)
            missing = [column for column in COLUMNS if column not in (reader.fieldnames or ())]
            if missing:
                raise SettingsError(f"REPLAY_DATA_DIR: {file.name} has no column {', '.join(missing)}")
            for row in reader:
                place = f"{file.name} line {reader.line_num}"
                try:
                    yield place, *_parse(row)
                except _BadRow as problem:
                    raise SettingsError(f"REPLAY_DATA_DIR: {place}: {problem}") from None
    except (OSError, EOFError, ZlibError, UnicodeDecodeError, csv.Error) as error:
        raise SettingsError(f"REPLAY_DATA_DIR: {file.name} cannot be read: {error}") from None


def _parse(row: Mapping[str, str | None]) -> tuple[str, int, Figures]:
    symbol, stamp, *texts = (row[column] or "" for column in COLUMNS)
    if not symbol.strip():
        raise _BadRow("the symbol is missing")
    try:
        moment = datetime.fromisoformat(stamp)
        figures = tuple(Decimal(text) for text in texts)
    except ValueError:
        raise _BadRow(f"ts_utc={stamp!r} is not an ISO 8601 time") from None
    except InvalidOperation:
        raise _BadRow(f"{', '.join(COLUMNS[2:])} are not all numbers") from None
    # A stamp without an offset is UTC, as the column's name says.
    start = int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())
    if start % MINUTE or moment.microsecond:
        raise _BadRow(f"ts_utc={stamp!r} is not the start of a minute")
    if not all(figure.is_finite() for figure in figures):
        raise _BadRow("a figure is not finite")
    first, high, low, last, volume = figures
    if not (0 < low <= min(first, last) and max(first, last) <= high and volume >= 0):
        raise _BadRow("0 < low <= open, close <= high and 0 <= volume do not hold")
    return symbol.strip(), start, figures


def _columns(symbol: str, minutes: Mapping[int, Figures]) -> Bars:
    starts = sorted(minutes)
    rows = [minutes[start] for start in starts]
    price_decimals = _decimals(symbol, (price for row in rows for price in row[:4]))
    volume_decimals = _decimals(symbol, (row[4] for row in rows))
    units = [
        [int(row[column].scaleb(decimals)) for row in rows]
        for column, decimals in enumerate([price_decimals] * 4 + [volume_decimals])
    ]
    if max(map(max, units)) > LARGEST:
        raise SettingsError(f"REPLAY_DATA_DIR: a figure of {symbol} is too large")
    first, high, low, last, volume = (np.array(column, dtype=np.int64) for column in units)
    return Bars(np.array(starts, dtype=np.int64), first, high, low, last, volume, price_decimals, volume_decimals)


def _decimals(symbol: str, figures: Iterable[Decimal]) -> int:
    """The decimals that the finest of the figures really uses: 181.5200 has two."""
    exponents = (figure.normalize().as_tuple().exponent for figure in figures)
    decimals = max((-exponent for exponent in exponents if isinstance(exponent, int)), default=0)
    if decimals > MAX_DECIMALS:
        raise SettingsError(f"REPLAY_DATA_DIR: {symbol} has figures with more than {MAX_DECIMALS} decimals")
    return max(0, decimals)
