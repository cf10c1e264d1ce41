"""Candles, indicators and anomalies of a symbol as they followed from what was known at a moment.

    python -m spark_jobs.as_of AAPL --at 2026-11-03T12:00:00Z --until 2026-11-03 --to /tmp/then

By the stream's own transforms, from the raw events that had come by then: revisions and quarantine are as they were.
Writes `candles.parquet`, `indicators.parquet` and `anomalies.parquet` into the folder; the warehouse is only read. A
history that is partly in the archive is refused by name: an average needs all that came before.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from include.logs import log_to_stderr
from include.market.moments import day_bounds, in_utc
from include.settings import required, settings
from include.storage.as_of import events_as_of
from spark_jobs.figures import candles_counted, indicators_and_anomalies
from spark_jobs.memory import keep_freed_memory
from spark_jobs.transforms.indicators import SEEDED

_CONTEXT = ["symbol", "interval", "window_start", "close", "volume", "source"]


@dataclass(frozen=True, slots=True)
class Figures:
    """Three tables, as the warehouse has them but for what it says of itself (is_final, updated_at)."""

    candles: pa.Table
    indicators: pa.Table
    anomalies: pa.Table


def figures_as_of(database_url: str, symbol: str, until: datetime, moment: datetime) -> Figures:
    """From all events before `until` that were known at `moment`. Raises DayIsCold, psycopg.Error."""
    return figures_of(events_as_of(database_url, symbol, until, moment))


def figures_of(events: pa.Table) -> Figures:
    """From a whole history of events (EVENT_SCHEMA). Pure."""
    candles = candles_counted(events)
    context = candles.select(_CONTEXT).sort_by([(name, "ascending") for name in _CONTEXT[:3]])
    for name in SEEDED:
        # Nothing came before: there is nothing to continue from.
        context = context.append_column(f"seed_{name}", pa.nulls(context.num_rows, pa.float64()))
    firsts = context.group_by(["symbol", "interval"]).aggregate([("window_start", "min")])
    firsts = firsts.rename_columns(["symbol", "interval", "first"])
    return Figures(candles, *indicators_and_anomalies(context, firsts))


def main(arguments: Sequence[str] | None = None) -> int:
    log_to_stderr()
    keep_freed_memory()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("symbol")
    parser.add_argument("--at", type=_moment, required=True, help="the moment, ISO 8601, UTC unless it says")
    parser.add_argument("--until", type=date.fromisoformat, help="the last day, included; that of the moment")
    parser.add_argument("--to", type=Path, required=True, help="the folder for the files")
    wanted = parser.parse_args(arguments)
    chosen = settings()
    url = required(chosen.writer_database_url or chosen.database_url, "DATABASE_URL")
    _, last = day_bounds(wanted.until or wanted.at.date())
    found = figures_as_of(url, wanted.symbol, min(last, wanted.at), wanted.at)
    wanted.to.mkdir(parents=True, exist_ok=True)
    tables = {"candles": found.candles, "indicators": found.indicators, "anomalies": found.anomalies}
    for name, table in tables.items():
        pq.write_table(table, wanted.to / f"{name}.parquet", compression="zstd")
    print(json.dumps({name: table.num_rows for name, table in tables.items()}))
    return 0


def _moment(text: str) -> datetime:
    return in_utc(datetime.fromisoformat(text))


if __name__ == "__main__":
    sys.exit(main())
