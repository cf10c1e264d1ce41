"""How far back a batch reached, and completeness of a symbol since it is collected.

Revision ID: 0008
Revises: 0007
"""

from __future__ import annotations

from importlib import import_module

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

# Null in the rows of before: a run that looks for days that came late has seen those.
LEDGER = """
ALTER TABLE market.stream_batches ADD COLUMN min_event_time timestamptz;
COMMENT ON COLUMN market.stream_batches.min_event_time IS
    'The oldest event that this batch stored; null where it stored none. max_event_time is of all batches until then';
"""
# One that is collected again has a hole in its history that nobody expected to be filled. A span that ended before it
# was collected again is measured from its first candle.
COMPLETENESS = """
CREATE OR REPLACE FUNCTION market.symbol_completeness(
    since timestamptz, until timestamptz, least_limit double precision DEFAULT 300, only_symbols text[] DEFAULT NULL)
RETURNS TABLE (symbol text, asset_class text, expected_minutes bigint, present_minutes bigint,
               longest_hole_seconds double precision, limit_seconds double precision, missing_minutes bigint,
               holes timestamptz[], passed boolean)
LANGUAGE sql STABLE SET search_path = market, pg_temp AS $$
    WITH wanted AS (
        SELECT i.symbol, i.asset_class,
               greatest(since, coalesce((
                   SELECT min(c.window_start) FROM candles c WHERE c.symbol = i.symbol AND c.interval = '1m'
                     AND (c.window_start >= i.collected_since OR until <= i.collected_since)),
                   i.collected_since)) AS since
        FROM instruments i
        WHERE i.is_collected AND (only_symbols IS NULL OR i.symbol = ANY (only_symbols))
    ), hours AS (
        SELECT w.symbol, greatest(s.opens_at, w.since) AS opens_at, least(s.closes_at, until) AS closes_at
        FROM wanted w JOIN trading_sessions s ON s.asset_class = w.asset_class
         AND s.closes_at > w.since AND s.opens_at < until
    ), present AS (
        SELECT h.symbol, h.opens_at, h.closes_at, c.window_start
        FROM hours h JOIN candles c ON c.symbol = h.symbol AND c.interval = '1m'
         AND c.window_start >= h.opens_at AND c.window_start < h.closes_at
    ), edges AS (
        -- Between the opening, each candle and the close; the hole is what no candle covers.
        SELECT symbol, window_start + interval '1 minute' AS from_time,
               lead(window_start, 1, closes_at) OVER (PARTITION BY symbol, opens_at ORDER BY window_start) AS to_time
        FROM present
        UNION ALL
        SELECT h.symbol, h.opens_at, coalesce((SELECT min(window_start) FROM present p
                                    WHERE p.symbol = h.symbol AND p.opens_at = h.opens_at), h.closes_at)
        FROM hours h
    ), limited AS (
        SELECT w.symbol, w.asset_class,
               greatest(least_limit, 3 * coalesce(usual_gap_seconds(w.symbol, until), 0)) AS limit_seconds
        FROM wanted w
    ), holes AS (
        SELECT e.symbol, e.from_time, extract(epoch FROM e.to_time - e.from_time)::double precision AS seconds
        FROM edges e WHERE e.to_time > e.from_time
    ), counted AS (
        SELECT l.symbol, l.asset_class, l.limit_seconds,
               coalesce((SELECT sum(extract(epoch FROM closes_at - opens_at) / 60) FROM hours h
                         WHERE h.symbol = l.symbol), 0)::bigint AS expected_minutes,
               (SELECT count(*) FROM present p WHERE p.symbol = l.symbol) AS present_minutes,
               coalesce((SELECT max(seconds) FROM holes h WHERE h.symbol = l.symbol), 0) AS longest,
               coalesce((SELECT sum(seconds) FROM holes h
                         WHERE h.symbol = l.symbol AND h.seconds > l.limit_seconds), 0) / 60 AS missing,
               (SELECT array_agg(from_time ORDER BY seconds DESC) FROM holes h
                WHERE h.symbol = l.symbol AND h.seconds > l.limit_seconds) AS holes
        FROM limited l
    )
    SELECT symbol, asset_class, expected_minutes, present_minutes, longest, limit_seconds, missing::bigint,
           coalesce(holes, '{}'), missing = 0
    FROM counted
$$;
COMMENT ON FUNCTION market.symbol_completeness IS
    'Of each collected instrument: minutes in session, those with a candle, and holes longer than is usual for it';
"""


def upgrade() -> None:
    op.execute(LEDGER)
    op.execute(COMPLETENESS)


def downgrade() -> None:
    before = import_module("include.storage.migrations.versions.0006_measures").COMPLETENESS
    op.execute(before.replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION"))
    op.execute("ALTER TABLE market.stream_batches DROP COLUMN min_event_time")
