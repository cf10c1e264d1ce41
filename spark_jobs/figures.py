"""The transforms on Arrow tables: what the stream and the batch recomputation both call."""

from __future__ import annotations

import json

import pyarrow as pa
import pyarrow.compute as pc

from include.market.candle import KEY
from include.market.tables import EVENT_SCHEMA, PARTIAL_SCHEMA
from include.storage.stream_figures import FigureTables
from include.storage.stream_figures_sql import ANOMALY_COLUMNS, INDICATOR_COLUMNS
from spark_jobs.transforms.anomalies import anomalies_of_table
from spark_jobs.transforms.candles import candles_from, counted, merged, partials_of
from spark_jobs.transforms.indicators import LOOKBACK, SEEDED, indicators_of_table


def candles_with_partials(added: pa.Table, partials: pa.Table, events: pa.Table) -> tuple[pa.Table, pa.Table]:
    """Candles of all intervals (CANDLE_SCHEMA), and the partials that they come from (PARTIAL_SCHEMA).

    `added`: events that count once each; `partials`: what is known of their windows; `events`: all events of
    other windows, to be counted again. See `FigureTables.basis`.
    """
    known = [partials, partials_of(added), partials_of(counted(events))]
    together = merged(pa.concat_tables(known))
    return candles_from(together), together


def candles_counted(events: pa.Table) -> pa.Table:
    """Candles of all intervals (CANDLE_SCHEMA) from all events of their windows, whatever is known of those."""
    candles, _ = candles_with_partials(EVENT_SCHEMA.empty_table(), PARTIAL_SCHEMA.empty_table(), events)
    return candles


def replace_followers(figures: FigureTables, *, at_most: int | None = None) -> int:
    """Indicators and anomalies of the candles that were changed, and of all after them, in their place; rows changed.

    Those behind more than `at_most` candles are left to the repair.
    """
    context, firsts = figures.context(LOOKBACK, SEEDED, at_most=at_most)
    if firsts.num_rows == 0:
        return 0
    return figures.replace_indicators(*indicators_and_anomalies(context, firsts))


def indicators_and_anomalies(context: pa.Table, firsts: pa.Table) -> tuple[pa.Table, pa.Table]:
    """Indicator and anomaly rows of the candles that are wanted; what is only context is left out.

    `context` as `FigureTables.context` gives it, `firsts` the first wanted candle of each (symbol, interval).
    """
    computed = indicators_of_table(context)
    returns = computed.select([*KEY, "log_return"])
    anomalies = anomalies_of_table(context.select([*KEY, "volume"]).join(returns, list(KEY)))
    indicators = _wanted(computed, firsts)
    known = [name for name in INDICATOR_COLUMNS.split(", ") if name != "more"]
    extra = indicators.drop_columns(known)
    # Row by row, but only for an indicator that has no column of its own yet.
    more = [json.dumps(row) for row in extra.to_pylist()] if extra.num_columns else [None] * len(indicators)
    stored = indicators.select(known).append_column("more", pa.array(more, pa.string()))
    return stored, _wanted(anomalies, firsts).select(ANOMALY_COLUMNS.split(", "))


def _wanted(rows: pa.Table, firsts: pa.Table) -> pa.Table:
    limited = rows.join(firsts, ["symbol", "interval"], join_type="inner")
    return limited.filter(pc.greater_equal(limited["window_start"], limited["first"])).select(rows.column_names)
