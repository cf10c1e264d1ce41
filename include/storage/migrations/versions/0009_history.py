"""History: what each backfill did, the ledger of gaps, and what was known at a moment.

Revision ID: 0009
Revises: 0008
"""

from __future__ import annotations

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

RESULTS = """
CREATE TABLE market.backfill_results (
    run_id         text NOT NULL,
    symbol         text NOT NULL,
    day            date NOT NULL,
    interval       text NOT NULL,
    source         text,
    bars_fetched   integer NOT NULL DEFAULT 0,
    bars_new       integer NOT NULL DEFAULT 0,
    bars_changed   integer NOT NULL DEFAULT 0,
    bars_unchanged integer NOT NULL DEFAULT 0,
    bars_left      integer NOT NULL DEFAULT 0,
    bars_refused   integer NOT NULL DEFAULT 0,
    missing_before integer NOT NULL,
    missing_after  integer NOT NULL,
    calls          integer NOT NULL,
    reason         text,
    finished_at    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (run_id, symbol, day, interval)
);
CREATE INDEX backfill_results_newest ON market.backfill_results (finished_at DESC);
COMMENT ON TABLE market.backfill_results IS 'What a backfill or a repair did for a symbol and UTC day';
COMMENT ON COLUMN market.backfill_results.bars_left IS
    'Fetched, and not stored: the minute has its trades, or the bar of another source';
COMMENT ON COLUMN market.backfill_results.bars_refused IS 'Not valid: in the dead letters with the reason';
COMMENT ON COLUMN market.backfill_results.reason IS 'Why nothing was fetched, where nothing was';
"""
GAPS = """
CREATE TABLE market.data_gaps (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    symbol          text NOT NULL,
    interval        text NOT NULL CHECK (interval = '1m'),
    gap_start       timestamptz NOT NULL,
    gap_end         timestamptz NOT NULL,
    cause           text NOT NULL CHECK (cause IN
        ('our outage', 'source outage', 'halt', 'no trades', 'not listed', 'unknown')),
    state           text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'repairing', 'filled', 'unfillable')),
    detected_at     timestamptz NOT NULL DEFAULT now(),
    closed_at       timestamptz,
    reason          text,
    attempts        integer NOT NULL DEFAULT 0,
    next_attempt_at timestamptz,
    CHECK (gap_end > gap_start),
    CHECK ((closed_at IS NULL) = (state IN ('open', 'repairing')))
);
CREATE INDEX data_gaps_symbol ON market.data_gaps (symbol, gap_start);
CREATE INDEX data_gaps_open ON market.data_gaps (gap_start) WHERE closed_at IS NULL;
COMMENT ON TABLE market.data_gaps IS
    'Every stretch of minutes in session for which there is neither a bar nor a trade, and what became of it';
COMMENT ON COLUMN market.data_gaps.gap_end IS 'The first minute after it';
COMMENT ON COLUMN market.data_gaps.reason IS 'Why it cannot be filled, or why the last attempt did not';
"""
# A minute is there with its bar or a trade of it, and the candle that they make. What is in quarantine is there.
MISSING = """
CREATE FUNCTION market.missing_minutes(since timestamptz, until timestamptz, only_symbols text[] DEFAULT NULL)
RETURNS TABLE (symbol text, minute timestamptz)
LANGUAGE sql STABLE SET search_path = market, pg_temp AS $$
    WITH hours AS (
        SELECT i.symbol, greatest(s.opens_at, since) AS opens_at, least(s.closes_at, until) AS closes_at
        FROM instruments i JOIN trading_sessions s ON s.asset_class = i.asset_class
        WHERE s.closes_at > since AND s.opens_at < until
          AND CASE WHEN only_symbols IS NULL THEN i.is_collected ELSE i.symbol = ANY (only_symbols) END
    )
    SELECT h.symbol, m.minute
    FROM hours h CROSS JOIN LATERAL generate_series(
        date_bin('1 minute', h.opens_at + interval '59.999999 seconds', 'epoch'),
        h.closes_at - interval '1 minute', interval '1 minute') AS m (minute)
    WHERE NOT EXISTS (
            SELECT FROM market_events e WHERE e.symbol = h.symbol AND e.event_time >= m.minute
              AND e.event_time < m.minute + interval '1 minute' AND e.kind <> 'quote' AND e.interval_seconds <= 60)
       OR NOT EXISTS (
            SELECT FROM candles c WHERE c.symbol = h.symbol AND c.interval = '1m' AND c.window_start = m.minute)
          AND EXISTS (
            SELECT FROM counted_events e WHERE e.symbol = h.symbol AND e.event_time >= m.minute
              AND e.event_time < m.minute + interval '1 minute' AND e.kind <> 'quote' AND e.interval_seconds <= 60)
$$;
COMMENT ON FUNCTION market.missing_minutes IS
    'Minutes in session of [since, until) without a bar or trade, or without the candle that they make';
"""
# The moment at which a fact was known is that at which it reached the platform.
AS_OF = """
CREATE FUNCTION market.events_as_of(
    moment timestamptz, since timestamptz, until timestamptz, only_symbols text[] DEFAULT NULL)
RETURNS SETOF market.market_events
LANGUAGE sql STABLE SET search_path = market, pg_temp AS $$
    SELECT DISTINCT ON (e.event_id, e.event_time) e.* FROM market_events e
    WHERE e.event_time >= since AND e.event_time < until AND e.ingested_at <= moment
      AND (only_symbols IS NULL OR e.symbol = ANY (only_symbols))
      AND NOT EXISTS (
        SELECT FROM quarantined_events q
        WHERE q.symbol = e.symbol AND q.event_time = e.event_time AND q.event_id = e.event_id
          AND q.revision = e.revision AND q.quarantined_at <= moment
          AND (q.state <> 'released' OR q.decided_at > moment))
    ORDER BY e.event_id, e.event_time, e.revision DESC
$$;
COMMENT ON FUNCTION market.events_as_of IS
    'The events of [since, until) as known at a moment: the newest revision that had come, quarantine as it was';
CREATE FUNCTION market.candles_as_of(
    moment timestamptz, since timestamptz, until timestamptz, only_symbols text[] DEFAULT NULL)
RETURNS TABLE (symbol text, "interval" text, window_start timestamptz, open numeric, high numeric, low numeric,
               close numeric, volume numeric, vwap numeric, event_count bigint, source text)
LANGUAGE sql STABLE SET search_path = market, pg_temp AS $$
    WITH newest AS (
        SELECT * FROM events_as_of(moment, since, until, only_symbols)
    ), once AS (
        SELECT * FROM newest WHERE kind <> 'bar'
        UNION ALL
        (SELECT DISTINCT ON (symbol, event_time, interval_seconds) * FROM newest WHERE kind = 'bar'
         ORDER BY symbol, event_time, interval_seconds, kafka_offset NULLS LAST, kafka_partition, event_id)
    ), placed AS (
        SELECT o.*, w.name AS window_name, date_bin(w.length, o.event_time, 'epoch') AS window_start,
               bool_or(o.kind <> 'quote') OVER (
                   PARTITION BY o.symbol, w.name, date_bin(w.length, o.event_time, 'epoch')) AS has_traded
        FROM once o JOIN (VALUES ('1m', interval '1 minute', 60), ('5m', interval '5 minutes', 300))
            AS w (name, length, seconds) ON o.interval_seconds <= w.seconds
    ), ordered AS (
        SELECT p.*, row_number() OVER (o) AS place, count(*) OVER (PARTITION BY p.symbol, window_name, window_start)
            AS events
        FROM placed p WHERE p.kind <> 'quote' OR NOT p.has_traded
        WINDOW o AS (PARTITION BY p.symbol, window_name, window_start
                     ORDER BY p.event_time, p.kafka_offset NULLS LAST, p.kafka_partition, p.event_id)
    )
    SELECT symbol, window_name, window_start, max(open) FILTER (WHERE place = 1), max(high), min(low),
           max(close) FILTER (WHERE place = events), sum(volume),
           round(sum((high + low + close) * volume) / nullif(3 * sum(volume), 0), 12), count(*),
           max(source) FILTER (WHERE place = events)
    FROM ordered GROUP BY symbol, window_name, window_start
$$;
COMMENT ON FUNCTION market.candles_as_of IS 'Candles of [since, until) from the events as they were known at a moment';
"""
# One definition of a candle in SQL: what is known by now is what is known at the end of time.
RECOUNTED = """
CREATE OR REPLACE FUNCTION market.recounted_candles(
    since timestamptz, until timestamptz, only_symbols text[] DEFAULT NULL)
RETURNS TABLE (symbol text, "interval" text, window_start timestamptz, open numeric, high numeric, low numeric,
               close numeric, volume numeric, vwap numeric, event_count bigint, source text)
LANGUAGE sql STABLE SET search_path = market, pg_temp AS $$
    SELECT * FROM candles_as_of('infinity', since, until, only_symbols)
$$;
"""
GRANTS = """
GRANT SELECT ON market.backfill_results, market.data_gaps TO pipeline_writer, pipeline_reader, pipeline_checker;
GRANT INSERT, UPDATE ON market.backfill_results, market.data_gaps TO pipeline_writer;
GRANT EXECUTE ON FUNCTION market.missing_minutes, market.events_as_of, market.candles_as_of
    TO pipeline_writer, pipeline_reader, pipeline_checker;
"""


def upgrade() -> None:
    for statement in (RESULTS, GAPS, MISSING, AS_OF, RECOUNTED, GRANTS):
        op.execute(statement)


def downgrade() -> None:
    op.execute(_recounted_before())
    for function in ("candles_as_of", "events_as_of", "missing_minutes"):
        op.execute(f"DROP FUNCTION market.{function}")
    op.execute("DROP TABLE market.data_gaps, market.backfill_results")


def _recounted_before() -> str:
    from importlib import import_module

    before: str = import_module("include.storage.migrations.versions.0006_measures").RECOUNTED
    return before.replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION")
