"""The measures of quality as functions, for the checks, the pages and a person at psql alike.

Revision ID: 0006
Revises: 0005
"""

from __future__ import annotations

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

TRADED = """
CREATE FUNCTION market.traded_seconds(traded_class text, since timestamptz, until timestamptz)
RETURNS double precision LANGUAGE sql STABLE PARALLEL SAFE SET search_path = market, pg_temp AS $$
    SELECT coalesce(sum(extract(epoch FROM least(closes_at, until) - greatest(opens_at, since))), 0)
    FROM trading_sessions
    WHERE asset_class = traded_class AND closes_at > since AND opens_at < until AND until > since
$$;
COMMENT ON FUNCTION market.traded_seconds IS 'Seconds between the two in which this class is traded';
"""
# A quiet instrument trades every half hour: what is usual is learnt from its own last candles, within sessions only.
# The 95th percentile does not feel one long hole.
USUAL_GAP = """
CREATE FUNCTION market.usual_gap_seconds(of_symbol text, before timestamptz)
RETURNS double precision LANGUAGE sql STABLE PARALLEL SAFE SET search_path = market, pg_temp AS $$
    SELECT percentile_disc(0.95) WITHIN GROUP (ORDER BY gap) FROM (
        SELECT extract(epoch FROM window_start - lag(window_start) OVER (ORDER BY window_start)) AS gap,
               day = lag(day) OVER (ORDER BY window_start) AS is_same_day
        FROM (SELECT window_start, (window_start AT TIME ZONE 'America/New_York')::date AS day
              FROM candles WHERE symbol = of_symbol AND interval = '1m' AND window_start < before
              ORDER BY window_start DESC LIMIT 500) last
    ) gaps WHERE is_same_day
$$;
COMMENT ON FUNCTION market.usual_gap_seconds IS 'How far its candles usually lie apart: the 95th percentile of 500';
"""
FRESHNESS = """
CREATE FUNCTION market.symbol_freshness(
    at timestamptz DEFAULT now(), least_limit double precision DEFAULT 300, only_symbols text[] DEFAULT NULL)
RETURNS TABLE (symbol text, asset_class text, last_at timestamptz, age_seconds double precision,
               limit_seconds double precision, is_open boolean, passed boolean)
LANGUAGE sql STABLE SET search_path = market, pg_temp AS $$
    SELECT i.symbol, i.asset_class, newest.last_at, aged.age_seconds, limited.limit_seconds,
           EXISTS (SELECT FROM trading_sessions s WHERE s.asset_class = i.asset_class
                   AND s.opens_at <= at AND at < s.closes_at),
           aged.age_seconds <= limited.limit_seconds
    FROM instruments i
    CROSS JOIN LATERAL (
        SELECT (SELECT e.event_time + make_interval(secs => e.interval_seconds) FROM market_events e
                WHERE e.symbol = i.symbol AND e.event_time < at AND e.interval_seconds <= 3600
                ORDER BY e.event_time DESC LIMIT 1) AS last_at
    ) newest
    CROSS JOIN LATERAL (
        -- One that is collected again is not late by the time when it was not.
        SELECT traded_seconds(i.asset_class, greatest(newest.last_at, i.collected_since), at) AS age_seconds
    ) aged
    CROSS JOIN LATERAL (
        SELECT greatest(least_limit, 3 * coalesce(usual_gap_seconds(i.symbol, at), 0)) AS limit_seconds
    ) limited
    WHERE i.is_collected AND (only_symbols IS NULL OR i.symbol = ANY (only_symbols))
$$;
COMMENT ON FUNCTION market.symbol_freshness IS
    'Of each collected instrument: traded seconds since its last event, and how many are usual';
"""
COMPLETENESS = """
CREATE FUNCTION market.symbol_completeness(
    since timestamptz, until timestamptz, least_limit double precision DEFAULT 300, only_symbols text[] DEFAULT NULL)
RETURNS TABLE (symbol text, asset_class text, expected_minutes bigint, present_minutes bigint,
               longest_hole_seconds double precision, limit_seconds double precision, missing_minutes bigint,
               holes timestamptz[], passed boolean)
LANGUAGE sql STABLE SET search_path = market, pg_temp AS $$
    WITH wanted AS (
        SELECT i.symbol, i.asset_class,
               greatest(since, coalesce((SELECT min(c.window_start) FROM candles c
                                         WHERE c.symbol = i.symbol AND c.interval = '1m'), i.collected_since)) AS since
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
# Candles counted from the raw rows by another hand than the stream's: SQL against Arrow. Volume-weighted prices
# apart, which have their own rounding.
RECOUNTED = """
CREATE FUNCTION market.recounted_candles(
    since timestamptz, until timestamptz, only_symbols text[] DEFAULT NULL)
RETURNS TABLE (symbol text, "interval" text, window_start timestamptz, open numeric, high numeric, low numeric,
               close numeric, volume numeric, vwap numeric, event_count bigint, source text)
LANGUAGE sql STABLE SET search_path = market, pg_temp AS $$
    WITH newest AS (
        SELECT DISTINCT ON (e.event_id) e.* FROM counted_events e
        WHERE e.event_time >= since AND e.event_time < until
          AND (only_symbols IS NULL OR e.symbol = ANY (only_symbols))
        ORDER BY e.event_id, e.revision DESC
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
COMMENT ON FUNCTION market.recounted_candles IS 'Candles of [since, until) counted again from the raw rows';
"""
# Not called immutable, which it is: for extract() is not, and a function that claims more than its body is not inlined.
LEDGER = """
CREATE FUNCTION market.control_figure(e market.market_events) RETURNS numeric
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT (2 * e.kafka_offset::numeric + 1) * (
        (extract(epoch FROM e.event_time) + 19 * extract(epoch FROM e.ingested_at)) * 1000000
        + (5 * e.open + 7 * e.high + 11 * e.low + 13 * e.close) * 100000000
        + coalesce(17 * e.volume * 100000000, -17) + 3::bigint * e.interval_seconds)
$$;
COMMENT ON FUNCTION market.control_figure IS
    'What one row adds to its batch''s control sum: another digit, time or place of any row changes it';
CREATE FUNCTION market.ledger_balance(since timestamptz, until timestamptz)
RETURNS TABLE (query_name text, checkpoint_id text, batch_id bigint, committed_at timestamptz,
               rows_new bigint, rows_stored bigint, control_sum numeric, control_stored numeric)
LANGUAGE sql STABLE SET search_path = market, pg_temp AS $$
    WITH cold AS MATERIALIZED (
        SELECT day FROM archived_days WHERE relation = 'market_events' AND dropped_at IS NOT NULL
    ), cold_late AS MATERIALIZED (
        SELECT l.kafka_topic, l.kafka_partition, l.kafka_offset FROM late_events l
        WHERE (l.event_time AT TIME ZONE 'UTC')::date IN (SELECT day FROM cold)
          AND l.received_at >= since - interval '1 day'
    ), batches AS (
        SELECT b.*, replace(b.query_name, 'events_', '') AS asset_class, coalesce(c.known_ends, '{}') AS known_ends
        FROM stream_batches b LEFT JOIN stream_checkpoints c USING (query_name, checkpoint_id)
        WHERE b.committed_at >= since AND b.committed_at < until AND b.rows_in > 0
          AND b.query_name IN ('events_stock', 'events_crypto')
          -- A topic made again counts from 0 again: its rows have the offsets of these.
          AND NOT EXISTS (SELECT FROM stream_checkpoints later WHERE later.query_name = b.query_name
                          AND later.known_since > c.known_since AND later.topic_id <> c.topic_id)
          -- Of a day that is in the archive only, there are no rows here to compare with: its own batches, those of
          -- the day after, which may have begun in it, and those with a late event of it.
          AND NOT EXISTS (SELECT FROM cold WHERE day BETWEEN (b.max_event_time AT TIME ZONE 'UTC')::date - 1
                                                         AND (b.max_event_time AT TIME ZONE 'UTC')::date)
          AND NOT EXISTS (SELECT FROM cold_late l WHERE b.rows_late > 0
                          AND l.kafka_offset >= (b.offsets -> l.kafka_topic -> l.kafka_partition::text ->> 0)::bigint
                          AND l.kafka_offset < (b.offsets -> l.kafka_topic -> l.kafka_partition::text ->> 1)::bigint)
    ), ranges AS (
        SELECT b.asset_class, b.query_name, b.checkpoint_id, b.batch_id, p.key::int AS kafka_partition,
               (p.value ->> 0)::bigint AS first, (p.value ->> 1)::bigint AS past,
               bool_or((p.value ->> 0)::bigint < coalesce((b.known_ends ->> p.key)::bigint, 0)) OVER (
                   PARTITION BY b.query_name, b.checkpoint_id, b.batch_id) AS is_read_again
        FROM batches b, jsonb_each(b.offsets) t, jsonb_each(t.value) p
    ), told AS (
        -- Up to where an earlier checkpoint had come, a rebuild finds all there already: those batches stored it.
        SELECT * FROM ranges WHERE NOT is_read_again
    ), reach AS (
        SELECT asset_class, kafka_partition, min(first) AS first, max(past) AS past,
               array_agg(first ORDER BY first) AS firsts, array_agg(past ORDER BY first) AS pasts
        FROM told GROUP BY asset_class, kafka_partition
    ), stored AS (
        SELECT r.asset_class, r.kafka_partition, found.* FROM reach r CROSS JOIN LATERAL (
            SELECT r.firsts[placed.place] AS first, count(*) AS rows, sum(placed.figure) AS figure FROM (
                SELECT m.kafka_offset, control_figure(m) AS figure,
                       width_bucket(m.kafka_offset, r.firsts) AS place
                FROM market_events m
                WHERE m.asset_class = r.asset_class AND m.kafka_partition = r.kafka_partition AND m.revision = 0
                  AND m.kafka_offset >= r.first AND m.kafka_offset < r.past
                OFFSET 0) placed
            WHERE placed.kafka_offset < r.pasts[placed.place]
            GROUP BY placed.place) found
    ), summed AS (
        SELECT t.query_name, t.checkpoint_id, t.batch_id, coalesce(sum(s.rows), 0)::bigint AS rows,
               mod(coalesce(sum(s.figure), 0), 18446744073709551616) AS figure
        FROM told t LEFT JOIN stored s USING (asset_class, kafka_partition, first)
        GROUP BY t.query_name, t.checkpoint_id, t.batch_id
    )
    SELECT b.query_name, b.checkpoint_id, b.batch_id, b.committed_at, b.rows_new, s.rows, b.control_sum,
           trunc(CASE WHEN s.figure < 0 THEN s.figure + 18446744073709551616 ELSE s.figure END)
    FROM batches b JOIN summed s USING (query_name, checkpoint_id, batch_id)
$$;
COMMENT ON FUNCTION market.ledger_balance IS
    'Batches committed in [since, until): rows and control sum as written in the ledger, and as they stand now';
"""
GRANTS = """
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA market TO pipeline_reader, pipeline_writer, pipeline_checker;
REVOKE EXECUTE ON FUNCTION market.ensure_event_partitions(date[]) FROM pipeline_reader, pipeline_checker;
REVOKE EXECUTE ON FUNCTION market.ensure_partitions(text, date[]) FROM pipeline_reader;
"""
FUNCTIONS = (
    "ledger_balance", "control_figure", "recounted_candles", "symbol_completeness", "symbol_freshness",
    "usual_gap_seconds", "traded_seconds",
)  # fmt: skip


def upgrade() -> None:
    for statement in (TRADED, USUAL_GAP, FRESHNESS, COMPLETENESS, RECOUNTED, LEDGER, GRANTS):
        op.execute(statement)


def downgrade() -> None:
    for name in FUNCTIONS:
        op.execute(f"DROP FUNCTION market.{name}")
