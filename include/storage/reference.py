"""What the checks measure against, as rows: the instruments that are collected and the hours in which they trade."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta

import psycopg

from include.market.calendar import FIRST_DAY, LAST_DAY, sessions
from include.market.event import MICROSECONDS, AssetClass
from include.market.instrument import Instrument
from include.settings import Market
from include.storage.database import libpq_url

Hours = tuple[AssetClass, date, datetime, datetime]

_INSTRUMENTS = """
INSERT INTO market.instruments AS held (symbol, asset_class, name, is_collected)
SELECT * FROM unnest(%(symbols)s::text[], %(classes)s::text[], %(names)s::text[], %(collected)s::boolean[])
ON CONFLICT (symbol) DO UPDATE SET
    asset_class = excluded.asset_class, name = excluded.name, is_collected = excluded.is_collected,
    collected_since = CASE WHEN held.is_collected THEN held.collected_since ELSE now() END
"""
# Taken out of config/instruments.yaml: its history stays, and nothing new is expected of it.
_FORGET = "UPDATE market.instruments SET is_collected = false WHERE is_collected AND symbol <> ALL (%s::text[])"
_KEEP_SESSIONS = """
WITH wanted AS (
    SELECT * FROM unnest(%s::text[], %s::date[], %s::timestamptz[], %s::timestamptz[])
        AS w (asset_class, day, opens_at, closes_at)
), gone AS (
    DELETE FROM market.trading_sessions held WHERE NOT EXISTS (
        SELECT FROM wanted w WHERE (w.asset_class, w.day) = (held.asset_class, held.day))
)
INSERT INTO market.trading_sessions AS held SELECT * FROM wanted
ON CONFLICT (asset_class, day) DO UPDATE SET opens_at = excluded.opens_at, closes_at = excluded.closes_at
WHERE (held.opens_at, held.closes_at) IS DISTINCT FROM (excluded.opens_at, excluded.closes_at)
"""


def refresh_reference(
    database_url: str, market: Market, instruments: Iterable[Instrument], collected: Iterable[str]
) -> None:
    """Bring both tables up to date; the owner's connection. `collected` are canonical symbols.

    Safe to call at every start. Raises psycopg.Error.
    """
    known, wanted = list(instruments), set(collected)
    hours = list(trading_hours(market))
    with psycopg.connect(libpq_url(database_url), connect_timeout=5) as connection:
        connection.execute(
            _INSTRUMENTS,
            {
                "symbols": [each.symbol for each in known],
                "classes": [each.asset_class for each in known],
                "names": [each.name for each in known],
                "collected": [each.symbol in wanted for each in known],
            },
        )
        connection.execute(_FORGET, ([each.symbol for each in known],))
        connection.execute(_KEEP_SESSIONS, [list(column) for column in zip(*hours, strict=True)] or [[], [], [], []])


def trading_hours(market: Market) -> list[Hours]:
    """Every session that the market of this database has.

    Live: New York's regular hours for stocks, whole UTC days for crypto. The simulated market trades both round the
    clock. A recorded day is quiet where it was quiet, so of a replay nothing is expected.
    """
    if market == "replay":
        return []
    whole = list(_whole_days())
    crypto: list[Hours] = [("crypto", *day) for day in whole]
    if market == "sandbox":
        return [*crypto, *(("stock", *day) for day in whole)]
    return [*crypto, *(("stock", each.day, _moment(each.open_us), _moment(each.close_us)) for each in sessions())]


def _whole_days() -> Iterable[tuple[date, datetime, datetime]]:
    day = FIRST_DAY
    while day <= LAST_DAY:
        start = datetime(day.year, day.month, day.day, tzinfo=UTC)
        yield day, start, start + timedelta(days=1)
        day += timedelta(days=1)


def _moment(at_us: int) -> datetime:
    return datetime.fromtimestamp(at_us // MICROSECONDS, UTC)
