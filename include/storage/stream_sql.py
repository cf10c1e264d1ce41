"""The statements of `stream_store`: events, ledger and latest prices of one micro-batch."""

from __future__ import annotations

EVENT_COLUMNS = (
    "event_id, symbol, asset_class, source, kind, event_time, interval_seconds, open, high, low, close, "
    "volume, currency, ingested_at, kafka_partition, kafka_offset"
)
LATE_COLUMNS = "event_id, symbol, event_time, kafka_topic, kafka_partition, kafka_offset"
PRICE_COLUMNS = "symbol, close, source, currency, event_time, interval_seconds"
_REFUSED_COLUMNS = "topic, kafka_partition, kafka_offset, symbol, source, reason"

# A driver that froze inside a batch must not hold the fence against its successor. Compiling a statement
# costs more than running it once a second, and times go out as text.
SESSION = """
SET idle_in_transaction_session_timeout = '60s';
SET lock_timeout = '30s';
SET statement_timeout = '120s';
SET jit = off;
SET timezone = 'UTC';
"""
# Made once a connection: a table made and dropped each second would bloat the system catalogue.
STAGING = f"""
CREATE TEMP TABLE staged_events ON COMMIT DELETE ROWS AS SELECT {EVENT_COLUMNS} FROM market_events WITH NO DATA;
CREATE TEMP TABLE new_events (kafka_partition int, kafka_offset bigint) ON COMMIT DELETE ROWS;
CREATE TEMP TABLE staged_late ON COMMIT DELETE ROWS AS SELECT {LATE_COLUMNS} FROM late_events WITH NO DATA;
CREATE TEMP TABLE staged_prices ON COMMIT DELETE ROWS AS SELECT {PRICE_COLUMNS} FROM market_events WITH NO DATA;
CREATE TEMP TABLE staged_refused (topic text, kafka_partition int, kafka_offset bigint, symbol text,
    source text, reason text, payload text) ON COMMIT DELETE ROWS;
"""
FENCE = "SELECT 1 FROM stream_fence WHERE application = %s AND epoch = %s FOR SHARE"
#: Batches of both queries go on together; a recomputation, which asks for more, waits for them and they for it.
SHARE_CANDLES = "LOCK TABLE candles IN ROW EXCLUSIVE MODE"
#: Writers of candles wait until this transaction has ended; readers do not.
LOCK_CANDLES = "LOCK TABLE candles IN SHARE ROW EXCLUSIVE MODE"
#: No day leaves for the archive while this is held.
KEEP_DAYS = "LOCK TABLE ONLY market_events IN ACCESS SHARE MODE"
HELD_BATCH = "SELECT offsets FROM stream_batches WHERE query_name = %s AND checkpoint_id = %s AND batch_id = %s"
PARTITIONS = "SELECT market.ensure_event_partitions(%s::date[])"
# One probe of the key's index for each id and day (OFFSET 0: as a join the planner might read whole days).
# An id may come again with another time, up to a day around the batch.
ANY_HELD = """
SELECT EXISTS (
    SELECT FROM unnest(string_to_array(%(ids)s, E'\\n')) AS came (event_id)
    CROSS JOIN LATERAL (
        SELECT FROM market_events held WHERE held.event_id = came.event_id
          AND held.event_time >= %(first)s - interval '1 day' AND held.event_time <= %(last)s + interval '1 day'
        OFFSET 0) held
) AS held
"""
# The key has the event time in it (PostgreSQL wants the partition's column there), so an id that comes
# again with another time is looked for by hand.
INSERT_NEW = f"""
WITH first_delivery AS (
    SELECT DISTINCT ON (event_id) {EVENT_COLUMNS} FROM staged_events
    ORDER BY event_id, kafka_partition, kafka_offset
), inserted AS (
    INSERT INTO market_events ({EVENT_COLUMNS}) SELECT {EVENT_COLUMNS} FROM first_delivery came
    WHERE NOT EXISTS (
        SELECT FROM market_events held
        WHERE held.event_id = came.event_id AND held.event_time <> came.event_time
          AND held.event_time >= (SELECT min(event_time) - interval '1 day' FROM staged_events)
          AND held.event_time <= (SELECT max(event_time) + interval '1 day' FROM staged_events)
        OFFSET 0)
    ON CONFLICT DO NOTHING RETURNING kafka_partition, kafka_offset
)
INSERT INTO new_events SELECT * FROM inserted
"""
#: What a batch that was committed before had added then.
RECALL_NEW = """
INSERT INTO new_events SELECT held.kafka_partition, held.kafka_offset
FROM staged_events came JOIN market_events held USING (event_id, event_time, kafka_partition, kafka_offset)
WHERE held.revision = 0
"""
NEW_EVENTS = "COPY (SELECT kafka_partition, kafka_offset FROM new_events) TO STDOUT (FORMAT csv, HEADER)"
_TOPIC_ID = """coalesce((
    SELECT topic_id FROM stream_checkpoints
    WHERE query_name = %(query_name)s AND checkpoint_id = %(checkpoint_id)s), '')"""
LATE = f"""
INSERT INTO late_events ({LATE_COLUMNS}, topic_id, reason, watermark)
SELECT {LATE_COLUMNS}, {_TOPIC_ID}, 'older than the watermark', %(watermark)s FROM staged_late ON CONFLICT DO NOTHING
"""
DEAD_LETTERS = f"""
INSERT INTO dead_letters ({_REFUSED_COLUMNS}, topic_id, payload)
SELECT {_REFUSED_COLUMNS}, {_TOPIC_ID}, decode(payload, 'hex') FROM staged_refused ON CONFLICT DO NOTHING
"""
NEWEST_EVENT_TIME = "SELECT max(max_event_time) AS newest FROM stream_batches WHERE query_name = %s"
_PRICE = """
SELECT symbol, timed.close AS price, source, currency, micros AS event_time,
       micros + interval_seconds * 1000000::bigint AS as_of,
       round((timed.close / reference.price - 1) * 100, 4) AS change_pct
FROM timed CROSS JOIN LATERAL (
    SELECT coalesce(
        (SELECT c.close FROM candles c WHERE c.symbol = timed.symbol AND c.interval = '1m'
          AND c.window_start < day ORDER BY c.window_start DESC LIMIT 1),
        (SELECT c.open FROM candles c WHERE c.symbol = timed.symbol AND c.interval = '1m'
          AND c.window_start >= day ORDER BY c.window_start LIMIT 1)
    ) AS price
) reference
"""
_TIMED = "SELECT *, (extract(epoch FROM event_time) * 1000000)::bigint AS micros, date_trunc('day', event_time, 'UTC')"
LATEST = f"WITH timed AS ({_TIMED} AS day FROM staged_prices) {_PRICE}"
#: The newest event of each symbol that has a candle, walked by the index: symbol by symbol, not row by row. Where that
#: event is in the archive only, its candle tells the price.
ALL_LATEST = f"""
WITH RECURSIVE symbols AS (
    (SELECT symbol FROM candles ORDER BY symbol LIMIT 1)
    UNION ALL
    SELECT (SELECT c.symbol FROM candles c WHERE c.symbol > s.symbol ORDER BY c.symbol LIMIT 1)
    FROM symbols s WHERE s.symbol IS NOT NULL
), newest AS (
    SELECT DISTINCT ON (found.symbol) found.* FROM symbols CROSS JOIN LATERAL (
        (SELECT {PRICE_COLUMNS}, 1 AS place FROM counted_events e
        WHERE symbol = symbols.symbol AND asset_class = %(asset_class)s
          AND event_time >= (SELECT max(c.window_start) - interval '1 hour' FROM candles c
                             WHERE c.symbol = symbols.symbol AND c.interval = '1m')
          AND NOT EXISTS (SELECT FROM counted_events newer WHERE newer.event_id = e.event_id
                          AND newer.event_time = e.event_time AND newer.revision > e.revision)
        ORDER BY event_time + make_interval(secs => interval_seconds) DESC, kafka_offset DESC NULLS LAST LIMIT 1)
        UNION ALL
        (SELECT symbol, close, source, NULL::text, window_start, 60, 2 FROM candles
         WHERE symbol = symbols.symbol AND asset_class = %(asset_class)s AND interval = '1m'
         ORDER BY window_start DESC LIMIT 1)
    ) found
    ORDER BY found.symbol, found.place
), timed AS ({_TIMED} AS day FROM newest)
{_PRICE}
"""
LEDGER = """
INSERT INTO stream_batches (query_name, checkpoint_id, batch_id, epoch, offsets, rows_in, rows_new,
    rows_dead_lettered, rows_late, min_event_time, max_event_time, control_sum, rows_repeated, code_version)
VALUES (%(query_name)s, %(checkpoint_id)s, %(batch_id)s, %(epoch)s, %(offsets)s, %(rows_in)s, %(rows_new)s,
    %(rows_dead_lettered)s, %(rows_late)s, %(min_event_time)s, %(max_event_time)s,
    %(control_sum)s, %(rows_repeated)s, %(code_version)s)
"""
LAST_BATCH = """
SELECT max(batch_id) AS batch_id FROM stream_batches WHERE query_name = %s AND checkpoint_id = %s
"""
KNOWN_CHECKPOINTS = """
SELECT checkpoint_id, topic_id FROM stream_checkpoints WHERE query_name = %s ORDER BY known_since DESC
"""
HAS_BATCHES = "SELECT EXISTS (SELECT 1 FROM stream_batches WHERE query_name = %s) AS known"
#: Only for a checkpoint that is new. No topic keeps records for longer: what is older cannot be read again.
KNOW_CHECKPOINT = """
INSERT INTO stream_checkpoints (query_name, checkpoint_id, topic_id, known_ends)
SELECT came.*, coalesce((
    SELECT jsonb_object_agg(kafka_partition, past) FROM (
        SELECT p.key AS kafka_partition, max((p.value ->> 1)::bigint) AS past
        FROM (SELECT max(committed_at) AS at FROM stream_batches WHERE query_name = came.query_name) newest,
             stream_batches b, jsonb_each(b.offsets) t, jsonb_each(t.value) p
        WHERE b.query_name = came.query_name AND b.committed_at > newest.at - interval '31 days'
        GROUP BY p.key) ends), '{}')
FROM (VALUES (%s, %s, %s)) came (query_name, checkpoint_id, topic_id)
WHERE NOT EXISTS (SELECT FROM stream_checkpoints held
                  WHERE (held.query_name, held.checkpoint_id) = (came.query_name, came.checkpoint_id))
ON CONFLICT DO NOTHING
"""
#: How long the query has had no record, by the server's clock; null if it never had one.
SILENT_SECONDS = """
SELECT extract(epoch FROM now() - max(committed_at))::float8 AS seconds FROM stream_batches
WHERE query_name = %s AND rows_in > 0 AND committed_at > now() - interval '1 day'
"""
#: The oldest, taken out; a failure to send rolls it back.
TAKE_UNSENT = """
DELETE FROM anomaly_outbox WHERE id IN (SELECT id FROM anomaly_outbox ORDER BY id LIMIT %s) RETURNING id, body
"""
