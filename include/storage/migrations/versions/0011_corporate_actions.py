"""Splits and dividends, the factors that follow from them, and adjusted views; raw rows stay as they are.

Revision ID: 0011
Revises: 0010
"""

from __future__ import annotations

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

ACTIONS = """
CREATE TABLE market.corporate_actions (
    symbol      text NOT NULL,
    kind        text NOT NULL CHECK (kind IN ('split', 'dividend')),
    ex_date     date NOT NULL,
    source      text NOT NULL,
    numerator   numeric CHECK (numerator > 0),
    denominator numeric CHECK (denominator > 0),
    amount      numeric CHECK (amount > 0),
    currency    text,
    ingested_at timestamptz NOT NULL,
    PRIMARY KEY (symbol, kind, ex_date, source),
    CHECK ((kind = 'split') = (numerator IS NOT NULL AND denominator IS NOT NULL)),
    CHECK ((kind = 'dividend') = (amount IS NOT NULL))
);
COMMENT ON COLUMN market.corporate_actions.ex_date IS 'The first day in New York that is traded without it';
COMMENT ON COLUMN market.corporate_actions.amount IS
    'A share, as the source had it at ingested_at: adjusted for the splits until then';
CREATE TABLE market.corporate_action_looks (
    symbol    text PRIMARY KEY,
    looked_at timestamptz NOT NULL
);
COMMENT ON TABLE market.corporate_action_looks IS 'When a source was asked last for the actions of a symbol';
CREATE TABLE market.adjustment_factors (
    symbol       text NOT NULL,
    first_day    date NOT NULL,
    last_day     date NOT NULL,
    split_factor numeric NOT NULL CHECK (split_factor > 0),
    price_factor numeric NOT NULL CHECK (price_factor > 0),
    PRIMARY KEY (symbol, last_day)
);
COMMENT ON TABLE market.adjustment_factors IS
    'Adjusted = raw * price_factor * split_factor, volume / split_factor, for days (New York) from first to last';
"""
# A dividend is worth its part of the last close before it. Where that is not known, it is left out.
COMPUTED = """
CREATE FUNCTION market.computed_factors(of_symbol text)
RETURNS TABLE (first_day date, last_day date, split_factor numeric, price_factor numeric)
LANGUAGE sql STABLE SET search_path = market, pg_temp AS $$
    WITH actions AS (
        SELECT DISTINCT ON (kind, ex_date) * FROM corporate_actions WHERE symbol = of_symbol
        ORDER BY kind, ex_date, ingested_at DESC
    ), splits AS (
        SELECT ex_date, denominator / numerator AS factor FROM actions WHERE kind = 'split'
    ), dividends AS (
        SELECT d.ex_date, 1 - d.amount / before.close * coalesce((
            SELECT exp(sum(ln(1 / s.factor))) FROM splits s
            WHERE s.ex_date > d.ex_date AND s.ex_date <= (d.ingested_at AT TIME ZONE 'America/New_York')::date), 1)
            AS factor
        FROM actions d CROSS JOIN LATERAL (
            SELECT close FROM (
                (SELECT close, event_time AS at FROM counted_events e
                 WHERE e.symbol = of_symbol AND e.interval_seconds = 86400
                   AND e.event_time < d.ex_date::timestamp AT TIME ZONE 'America/New_York'
                   AND e.event_time >= (d.ex_date - 10)::timestamp AT TIME ZONE 'America/New_York'
                 ORDER BY e.event_time DESC, e.revision DESC LIMIT 1)
                UNION ALL
                (SELECT close, window_start FROM candles c WHERE c.symbol = of_symbol AND c.interval = '1m'
                   AND c.window_start < d.ex_date::timestamp AT TIME ZONE 'America/New_York'
                   AND c.window_start >= (d.ex_date - 10)::timestamp AT TIME ZONE 'America/New_York'
                 ORDER BY c.window_start DESC LIMIT 1)) closes
            ORDER BY at DESC LIMIT 1) before
        WHERE d.kind = 'dividend' AND d.amount < before.close
    ), edges AS (
        SELECT ex_date - 1 AS last_day FROM splits UNION SELECT ex_date - 1 FROM dividends
    )
    SELECT coalesce(lag(e.last_day) OVER (ORDER BY e.last_day) + 1, '0001-01-01'), e.last_day,
           round(coalesce((SELECT exp(sum(ln(s.factor))) FROM splits s WHERE s.ex_date > e.last_day), 1), 12),
           round(coalesce((SELECT exp(sum(ln(d.factor))) FROM dividends d WHERE d.ex_date > e.last_day), 1), 12)
    FROM edges e
$$;
COMMENT ON FUNCTION market.computed_factors IS 'Factors of a symbol by its corporate actions, as they stand now';
"""
# By a function, which is inlined, so that no later change of candles has to take a view away first.
VIEWS = """
CREATE FUNCTION market.candles_adjusted()
RETURNS TABLE (symbol text, "interval" text, window_start timestamptz, open numeric, high numeric, low numeric,
               close numeric, volume numeric, vwap numeric, event_count integer, source text, is_final boolean,
               split_factor numeric, price_factor numeric)
LANGUAGE sql STABLE AS $$
    SELECT c.symbol, c.interval, c.window_start, c.open * f.factor, c.high * f.factor, c.low * f.factor,
           c.close * f.factor, c.volume / f.split_factor, c.vwap * f.factor, c.event_count, c.source, c.is_final,
           f.split_factor, f.price_factor
    FROM market.candles c
    LEFT JOIN market.adjustment_factors a ON a.symbol = c.symbol
        AND (c.window_start AT TIME ZONE 'America/New_York')::date BETWEEN a.first_day AND a.last_day
    CROSS JOIN LATERAL (
        SELECT coalesce(a.split_factor, 1) AS split_factor, coalesce(a.price_factor, 1) AS price_factor,
               coalesce(a.split_factor * a.price_factor, 1) AS factor) f
$$;
CREATE VIEW market.adjusted_candles AS SELECT * FROM market.candles_adjusted();
COMMENT ON VIEW market.adjusted_candles IS 'Candles in the shares of now, without dividends';
CREATE VIEW market.adjusted_daily_bars AS
SELECT e.symbol, (e.event_time AT TIME ZONE 'America/New_York')::date AS day, e.source,
       e.open * f.factor AS open, e.high * f.factor AS high, e.low * f.factor AS low, e.close * f.factor AS close,
       e.volume / f.split_factor AS volume, f.split_factor, f.price_factor
FROM market.current_events e
LEFT JOIN market.adjustment_factors a ON a.symbol = e.symbol
    AND (e.event_time AT TIME ZONE 'America/New_York')::date BETWEEN a.first_day AND a.last_day
CROSS JOIN LATERAL (
    SELECT coalesce(a.split_factor, 1) AS split_factor, coalesce(a.price_factor, 1) AS price_factor,
           coalesce(a.split_factor * a.price_factor, 1) AS factor) f
WHERE e.kind = 'bar' AND e.interval_seconds = 86400;
COMMENT ON VIEW market.adjusted_daily_bars IS 'Daily bars in the shares of now and without dividends';
"""
GRANTS = """
GRANT SELECT ON market.corporate_actions, market.adjustment_factors, market.adjusted_candles, market.adjusted_daily_bars
    TO pipeline_writer, pipeline_reader, pipeline_checker;
GRANT SELECT ON market.corporate_action_looks TO pipeline_writer, pipeline_reader, pipeline_checker;
GRANT INSERT, UPDATE, DELETE ON market.corporate_actions TO pipeline_writer;
GRANT INSERT, UPDATE ON market.corporate_action_looks TO pipeline_writer;
GRANT INSERT, UPDATE, DELETE ON market.adjustment_factors TO pipeline_writer;
GRANT EXECUTE ON FUNCTION market.computed_factors, market.candles_adjusted
    TO pipeline_writer, pipeline_reader, pipeline_checker;
"""


def upgrade() -> None:
    for statement in (ACTIONS, COMPUTED, VIEWS, GRANTS):
        op.execute(statement)


def downgrade() -> None:
    op.execute("DROP VIEW market.adjusted_daily_bars, market.adjusted_candles")
    op.execute("DROP FUNCTION market.candles_adjusted, market.computed_factors")
    op.execute("DROP TABLE market.adjustment_factors, market.corporate_action_looks, market.corporate_actions")
