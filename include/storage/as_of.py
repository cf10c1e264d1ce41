"""Events as they were known at a moment, for a recomputation that changes nothing."""

from __future__ import annotations

from datetime import datetime, timedelta

import psycopg
import pyarrow as pa
from psycopg.rows import dict_row
from psycopg.sql import SQL, Literal

from include.market.tables import EVENT_SCHEMA
from include.storage.archive_catalogue import EVENTS, refuse_cold
from include.storage.database import libpq_url
from include.storage.stream_copy import copy_out
from include.storage.stream_figures_sql import EVENT_FIGURES

# Of days that are in the archive only the candles stand.
_FIRST = """
SELECT least((SELECT min(event_time) FROM market_events WHERE symbol = %(symbol)s),
             (SELECT min(window_start) FROM candles WHERE symbol = %(symbol)s AND interval = '1m')) AS first
"""
_EVENTS = f"""
COPY (SELECT {EVENT_FIGURES} FROM events_as_of({{moment}}, {{first}}, {{until}}, ARRAY[{{symbol}}]))
TO STDOUT (FORMAT csv, HEADER)
"""


def events_as_of(database_url: str, symbol: str, until: datetime, moment: datetime) -> pa.Table:
    """All events of the symbol before `until` (EVENT_SCHEMA, the newest revision that had come by `moment`).

    Raises DayIsCold where some of them are in the archive only, psycopg.Error.
    """
    options = "-c timezone=UTC -c jit=off"
    with (
        psycopg.connect(libpq_url(database_url), row_factory=dict_row, options=options) as connection,
        connection.cursor() as cursor,
    ):
        row = cursor.execute(_FIRST, {"symbol": symbol}).fetchone()
        first = row["first"] if row else None
        if first is None or first >= until:
            return EVENT_SCHEMA.empty_table()
        refuse_cold(connection, EVENTS, first.date(), (until - timedelta(microseconds=1)).date())
        bound = {"moment": moment, "first": first, "until": until, "symbol": symbol}
        statement = SQL(_EVENTS).format(**{name: Literal(value) for name, value in bound.items()})
        return copy_out(cursor, statement, EVENT_SCHEMA)
