"""What the checks compare: implausible prices, and candles, indicators, anomalies and ledger counted again in SQL.

Each function gives the keys of the rows that differ, and never a figure of theirs.

Revision ID: 0007
Revises: 0006
"""

from __future__ import annotations

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

# Contract 8: indicators are floating point, equal within 1e-9.
DIFFERS = """
CREATE FUNCTION market.differs(a double precision, b double precision) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN a IS NULL OR b IS NULL THEN (a IS NULL) <> (b IS NULL)
                ELSE a IN ('NaN', 'Infinity', '-Infinity') OR abs(a - b) > 1e-9 * greatest(abs(a), abs(b)) END
$$;
"""
# A wrong print is five times off the median of the prices around it (sixty before, forty after), and prices came back
# after it. A split stays, and is less than fifty times; fifty times is a wrong unit (pence for pounds), and is known at
# once. Only series that have such a span at all are looked at row by row.
IMPLAUSIBLE = """
CREATE FUNCTION market.implausible_prices(since timestamptz, until timestamptz, only_symbols text[] DEFAULT NULL)
RETURNS TABLE (event_id text, revision integer, event_time timestamptz, symbol text, asset_class text)
LANGUAGE sql STABLE SET search_path = market, pg_temp AS $$
    WITH seen AS (
        SELECT e.* FROM counted_events e WHERE e.event_time >= since AND e.event_time < until
          AND (only_symbols IS NULL OR e.symbol = ANY (only_symbols)) AND e.close > 0 AND e.close < 'Infinity'
    ), series AS (
        SELECT s.symbol, s.source, s.kind, s.interval_seconds, min(s.close) AS least, max(s.close) AS greatest,
               min(s.event_time) AS first
        FROM seen s GROUP BY s.symbol, s.source, s.kind, s.interval_seconds
    ), wide AS (
        SELECT w.* FROM series w
        LEFT JOIN LATERAL (
            SELECT c.close FROM counted_events c WHERE c.symbol = w.symbol AND c.source = w.source
              AND c.kind = w.kind AND c.interval_seconds = w.interval_seconds
              AND c.event_time < w.first AND c.event_time >= w.first - interval '120 days'
            ORDER BY c.event_time DESC LIMIT 1) before ON true
        WHERE greatest(w.greatest, before.close) > 3 * least(w.least, before.close)
    )
    SELECT s.event_id, s.revision, s.event_time, s.symbol, s.asset_class
    FROM seen s JOIN wide w USING (symbol, source, kind, interval_seconds)
    CROSS JOIN LATERAL (
        SELECT array(
            SELECT c.close FROM counted_events c WHERE c.symbol = s.symbol AND c.source = s.source
              AND c.kind = s.kind AND c.interval_seconds = s.interval_seconds AND c.close > 0
              AND c.event_time < s.event_time AND c.event_time >= s.event_time - interval '120 days'
            ORDER BY c.event_time DESC LIMIT 60) AS before,
        array(
            SELECT c.close FROM counted_events c WHERE c.symbol = s.symbol AND c.source = s.source
              AND c.kind = s.kind AND c.interval_seconds = s.interval_seconds AND c.close > 0
              AND c.event_time > s.event_time AND c.event_time < s.event_time + interval '120 days'
            ORDER BY c.event_time LIMIT 40) AS after
    ) around
    CROSS JOIN LATERAL (
        SELECT percentile_disc(0.5) WITHIN GROUP (ORDER BY price) AS close, count(*) AS known
        FROM unnest(around.before || around.after) price
    ) usual
    CROSS JOIN LATERAL (
        SELECT count(*) AS times FROM unnest(around.after) price
        WHERE price BETWEEN usual.close / 2 AND usual.close * 2
    ) returned
    CROSS JOIN LATERAL (SELECT greatest(s.close / usual.close, usual.close / s.close) AS times) off
    WHERE usual.known >= 3 AND off.times > 5 AND (returned.times >= 3 OR off.times >= 50)
      -- A person has released it: it is no finding any more.
      AND NOT EXISTS (SELECT FROM quarantined_events q WHERE q.event_id = s.event_id AND q.revision = s.revision
                      AND q.state = 'released')
$$;
"""
CANDLES = """
CREATE FUNCTION market.candle_differences(since timestamptz, until timestamptz, only_symbols text[] DEFAULT NULL)
RETURNS TABLE (symbol text, "interval" text, window_start timestamptz, differs text)
LANGUAGE sql STABLE SET search_path = market, pg_temp AS $$
    -- The running window may have got events since `until` that its candle shows already.
    WITH stored AS (
        SELECT * FROM candles c
        WHERE c.window_start >= since AND c.window_start < date_bin('5 minutes', until, 'epoch')
          AND (only_symbols IS NULL OR c.symbol = ANY (only_symbols))
    ), compared AS (
        SELECT coalesce(s.symbol, c.symbol) AS symbol, coalesce(s.interval, c.interval) AS "interval",
               coalesce(s.window_start, c.window_start) AS window_start,
               concat_ws(', ',
                   CASE WHEN s.symbol IS NULL THEN 'no candle' WHEN c.symbol IS NULL THEN 'no events' END,
                   CASE WHEN s.open <> c.open THEN 'open' END, CASE WHEN s.high <> c.high THEN 'high' END,
                   CASE WHEN s.low <> c.low THEN 'low' END, CASE WHEN s.close <> c.close THEN 'close' END,
                   CASE WHEN s.symbol IS NOT NULL AND c.symbol IS NOT NULL AND s.volume IS DISTINCT FROM c.volume
                        THEN 'volume' END,
                   CASE WHEN s.symbol IS NOT NULL AND c.symbol IS NOT NULL AND s.vwap IS DISTINCT FROM c.vwap
                        THEN 'vwap' END,
                   CASE WHEN s.event_count <> c.event_count THEN 'event_count' END,
                   CASE WHEN s.source <> c.source THEN 'source' END) AS differs
        FROM stored s FULL JOIN recounted_candles(since, date_bin('5 minutes', until, 'epoch'), only_symbols) c
          ON s.symbol = c.symbol AND s.interval = c.interval AND s.window_start = c.window_start
    )
    SELECT d.* FROM compared d WHERE d.differs <> ''
      AND NOT EXISTS (SELECT FROM archived_days a WHERE a.relation = 'market_events' AND a.dropped_at IS NOT NULL
                      AND a.day = (d.window_start AT TIME ZONE 'UTC')::date)
      AND NOT EXISTS (SELECT FROM quarantined_events q WHERE q.applied_at IS NULL AND q.symbol = d.symbol
                      AND q.event_time >= d.window_start AND q.event_time < d.window_start + interval '5 minutes')
$$;
COMMENT ON FUNCTION market.candle_differences IS
    'Candles that are not what their raw rows make, in whole windows of [since, until); quarantine on its way apart';
"""
# What waits for its repair is known to be wrong, and is left out.
INDICATORS = """
CREATE FUNCTION market.indicator_differences(since timestamptz, until timestamptz, only_symbols text[] DEFAULT NULL)
RETURNS TABLE (symbol text, "interval" text, window_start timestamptz, differs text)
LANGUAGE sql STABLE SET search_path = market, pg_temp AS $$
    WITH compared AS (
        SELECT i.symbol, i.interval, i.window_start, concat_ws(', ',
            CASE WHEN differs(i.sma_20, l.mean) THEN 'sma_20' END,
            CASE WHEN differs(i.bollinger_middle, l.mean) THEN 'bollinger_middle' END,
            CASE WHEN differs(i.bollinger_upper, l.mean + 2 * l.deviation) THEN 'bollinger_upper' END,
            CASE WHEN differs(i.bollinger_lower, l.mean - 2 * l.deviation) THEN 'bollinger_lower' END,
            CASE WHEN differs(i.ema_12, coalesce(l.close * 2 / 13 + p.ema_12 * 11 / 13, l.close)) THEN 'ema_12' END,
            CASE WHEN differs(i.ema_26, coalesce(l.close * 2 / 27 + p.ema_26 * 25 / 27, l.close)) THEN 'ema_26' END,
            CASE WHEN differs(i.volatility_20, r.deviation) THEN 'volatility_20' END) AS differs
        FROM indicators i
        CROSS JOIN LATERAL (
            SELECT CASE WHEN count(*) = 20 THEN avg(close)::float8 END AS mean, stddev_pop(close)::float8 AS deviation,
                   max(close) FILTER (WHERE place = 1)::float8 AS close
            FROM (SELECT c.close, row_number() OVER (ORDER BY c.window_start DESC) AS place FROM candles c
                  WHERE c.symbol = i.symbol AND c.interval = i.interval AND c.window_start <= i.window_start
                  ORDER BY c.window_start DESC LIMIT 20) last) l
        CROSS JOIN LATERAL (
            SELECT CASE WHEN count(*) = 20 THEN stddev_samp(log_return) END AS deviation FROM (
                SELECT b.log_return FROM indicators b WHERE b.symbol = i.symbol AND b.interval = i.interval
                  AND b.window_start <= i.window_start AND b.log_return IS NOT NULL
                ORDER BY b.window_start DESC LIMIT 20) last) r
        LEFT JOIN LATERAL (
            SELECT b.ema_12, b.ema_26 FROM indicators b WHERE b.symbol = i.symbol AND b.interval = i.interval
              AND b.window_start < i.window_start ORDER BY b.window_start DESC LIMIT 1) p ON true
        WHERE i.window_start >= since AND i.window_start < until
          AND (only_symbols IS NULL OR i.symbol = ANY (only_symbols))
    ), unpaired AS (
        SELECT symbol, interval, window_start, 'no indicators' AS differs FROM candles c
        WHERE c.window_start >= since AND c.window_start < until
          AND (only_symbols IS NULL OR c.symbol = ANY (only_symbols))
          AND NOT EXISTS (SELECT FROM indicators i WHERE i.symbol = c.symbol AND i.interval = c.interval
                          AND i.window_start = c.window_start)
        UNION ALL
        SELECT symbol, interval, window_start, 'no candle' FROM indicators i
        WHERE i.window_start >= since AND i.window_start < until
          AND (only_symbols IS NULL OR i.symbol = ANY (only_symbols))
          AND NOT EXISTS (SELECT FROM candles c WHERE c.symbol = i.symbol AND c.interval = i.interval
                          AND c.window_start = i.window_start)
    )
    SELECT d.* FROM (SELECT * FROM compared WHERE differs <> '' UNION ALL SELECT * FROM unpaired) d
    WHERE NOT EXISTS (SELECT FROM indicator_repairs w WHERE w.symbol = d.symbol AND w.interval = d.interval
                      AND w.window_start <= d.window_start)
$$;
COMMENT ON FUNCTION market.indicator_differences IS
    'Indicators that do not follow from the closes, by the formulas of contract 8, and those without their pair';
"""
# A hair on either side of 3 is left alone, so that a last digit of floating point raises nothing.
ANOMALIES = """
CREATE FUNCTION market.anomaly_differences(since timestamptz, until timestamptz, only_symbols text[] DEFAULT NULL)
RETURNS TABLE (symbol text, "interval" text, window_start timestamptz, metric text, differs text)
LANGUAGE sql STABLE SET search_path = market, pg_temp AS $$
    WITH measured AS (
        SELECT i.symbol, i.interval, i.window_start, 'price' AS metric, i.log_return AS value,
               before.known, before.mean, before.deviation
        FROM indicators i CROSS JOIN LATERAL (
            SELECT count(*) AS known, avg(log_return) AS mean, stddev_samp(log_return) AS deviation FROM (
                SELECT b.log_return FROM indicators b WHERE b.symbol = i.symbol AND b.interval = i.interval
                  AND b.window_start < i.window_start AND b.log_return IS NOT NULL
                ORDER BY b.window_start DESC LIMIT 60) last) before
        WHERE i.window_start >= since AND i.window_start < until AND i.log_return IS NOT NULL
          AND (only_symbols IS NULL OR i.symbol = ANY (only_symbols))
        UNION ALL
        SELECT c.symbol, c.interval, c.window_start, 'volume', ln(1 + c.volume::float8),
               before.known, before.mean, before.deviation
        FROM candles c CROSS JOIN LATERAL (
            SELECT count(*) AS known, avg(volume) AS mean, stddev_samp(volume) AS deviation FROM (
                SELECT ln(1 + b.volume::float8) AS volume FROM candles b WHERE b.symbol = c.symbol
                  AND b.interval = c.interval AND b.window_start < c.window_start AND b.volume IS NOT NULL
                ORDER BY b.window_start DESC LIMIT 60) last) before
        WHERE c.window_start >= since AND c.window_start < until AND c.volume IS NOT NULL
          AND (only_symbols IS NULL OR c.symbol = ANY (only_symbols))
    ), expected AS (
        SELECT m.*, CASE WHEN known < 30 THEN 0 WHEN deviation > 1e-12 THEN (value - mean) / deviation END AS z
        FROM measured m
    ), stored AS (
        SELECT a.* FROM price_anomalies a WHERE a.window_start >= since AND a.window_start < until
          AND (only_symbols IS NULL OR a.symbol = ANY (only_symbols))
    ), compared AS (
        SELECT coalesce(e.symbol, a.symbol) AS symbol, coalesce(e.interval, a.interval) AS "interval",
               coalesce(e.window_start, a.window_start) AS window_start, coalesce(e.metric, a.metric) AS metric,
               CASE WHEN a.symbol IS NULL THEN CASE WHEN abs(e.z) > 3.000001 THEN 'missing' END
                    WHEN e.symbol IS NULL OR abs(e.z) < 2.999999 THEN 'none'
                    WHEN abs(a.z_score - e.z) > 1e-6 * abs(e.z) THEN 'z_score' END AS differs
        FROM expected e FULL JOIN stored a ON a.symbol = e.symbol AND a.interval = e.interval
         AND a.window_start = e.window_start AND a.metric = e.metric
    )
    SELECT d.* FROM compared d WHERE d.differs IS NOT NULL
      AND NOT EXISTS (SELECT FROM indicator_repairs w WHERE w.symbol = d.symbol AND w.interval = d.interval
                      AND w.window_start <= d.window_start)
$$;
COMMENT ON FUNCTION market.anomaly_differences IS
    'Anomalies that are missing, are none, or have another score, by the formulas of contract 8';
"""
LEDGER = """
CREATE FUNCTION market.ledger_gaps(since timestamptz, until timestamptz)
RETURNS TABLE (query_name text, checkpoint_id text, batch_id bigint, topic text, kafka_partition integer)
LANGUAGE sql STABLE SET search_path = market, pg_temp AS $$
    WITH walked AS (
        SELECT b.query_name, b.checkpoint_id, b.batch_id, t.key AS topic, p.key AS part,
               (p.value ->> 0)::bigint AS first,
               lag((p.value ->> 1)::bigint) OVER (
                   PARTITION BY b.query_name, b.checkpoint_id, t.key, p.key ORDER BY b.batch_id) AS past
        FROM stream_batches b, jsonb_each(b.offsets) t, jsonb_each(t.value) p
        WHERE b.committed_at >= since AND b.committed_at < until
    )
    SELECT w.query_name, w.checkpoint_id, w.batch_id, w.topic, w.part::int FROM walked w
    WHERE w.first <> coalesce(w.past, (
        -- The first of the span follows the newest before it that had this partition.
        SELECT (b.offsets -> w.topic -> w.part ->> 1)::bigint FROM stream_batches b
        WHERE b.query_name = w.query_name AND b.checkpoint_id = w.checkpoint_id AND b.batch_id < w.batch_id
          AND b.offsets -> w.topic ? w.part ORDER BY b.batch_id DESC LIMIT 1), w.first)
$$;
CREATE FUNCTION market.topics_behind()
RETURNS TABLE (topic text, kafka_partition integer, end_offset bigint, reached bigint)
LANGUAGE sql STABLE SET search_path = market, pg_temp AS $$
    SELECT e.topic, e.kafka_partition, e.end_offset, coalesce(l.reached, 0) FROM topic_ends e
    CROSS JOIN LATERAL (
        SELECT max((b.offsets -> e.topic -> e.kafka_partition::text ->> 1)::bigint) AS reached
        FROM stream_checkpoints c CROSS JOIN LATERAL (
            SELECT committed_at FROM stream_batches s
            WHERE s.query_name = c.query_name AND s.checkpoint_id = c.checkpoint_id
            ORDER BY s.batch_id DESC LIMIT 1) newest CROSS JOIN LATERAL (
            SELECT offsets FROM stream_batches s WHERE s.query_name = c.query_name
              AND s.checkpoint_id = c.checkpoint_id AND s.offsets -> e.topic ? e.kafka_partition::text
              -- No topic keeps records for longer.
              AND s.committed_at > newest.committed_at - interval '31 days'
            ORDER BY s.committed_at DESC LIMIT 1) b
        WHERE c.topic_id = e.topic_id) l
    -- One that has no record, or none any more, has nothing to reach.
    WHERE e.end_offset > e.first_offset AND coalesce(l.reached, 0) < e.end_offset
$$;
COMMENT ON FUNCTION market.topics_behind IS
    'Partitions whose end, when Kafka was asked last, the ledger has not reached';
"""
NAMES = (
    "topics_behind", "ledger_gaps", "anomaly_differences", "indicator_differences", "candle_differences",
    "implausible_prices", "differs",
)  # fmt: skip
GRANTS = f"""
GRANT EXECUTE ON FUNCTION {", ".join(f"market.{name}" for name in NAMES)}
    TO pipeline_reader, pipeline_writer, pipeline_checker;
"""


def upgrade() -> None:
    for statement in (DIFFERS, IMPLAUSIBLE, CANDLES, INDICATORS, ANOMALIES, LEDGER, GRANTS):
        op.execute(statement)


def downgrade() -> None:
    for name in NAMES:
        op.execute(f"DROP FUNCTION market.{name}")
