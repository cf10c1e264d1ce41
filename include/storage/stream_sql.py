"""The statements of `stream_store`: what one micro-batch does in PostgreSQL."""

from __future__ import annotations

from include.market.candle import FIGURES, KEY, LONGEST_SECONDS

EVENT_COLUMNS = (
    "event_id, symbol, asset_class, source, kind, event_time, interval_seconds, open, high, low, close, "
    "volume, currency, ingested_at, kafka_partition, kafka_offset"
)
CANDLE_COLUMNS = ", ".join((*KEY, *FIGURES))
_NEW_COLUMNS = "event_id, symbol, source, currency, close, event_time, interval_seconds, kafka_partition, kafka_offset"
_TOUCHED_COLUMNS = (
    "event_id, symbol, source, kind, event_time, interval_seconds, open, high, low, close, volume, "
    "kafka_partition, kafka_offset, revision"
)

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
CREATE TEMP TABLE staged_events ON COMMIT DELETE ROWS AS
SELECT {EVENT_COLUMNS}, NULL::text AS topic FROM market_events WITH NO DATA;
CREATE TEMP TABLE new_events ON COMMIT DELETE ROWS AS SELECT {_NEW_COLUMNS} FROM market_events WITH NO DATA;
CREATE TEMP TABLE staged_candles ON COMMIT DELETE ROWS AS SELECT {CANDLE_COLUMNS} FROM candles WITH NO DATA;
CREATE TEMP TABLE staged_refused (topic text, kafka_partition int, kafka_offset bigint, symbol text,
    source text, reason text, payload text) ON COMMIT DELETE ROWS;
"""
FENCE = "SELECT 1 FROM stream_fence WHERE application = %s AND epoch = %s FOR SHARE"
HELD_BATCH = "SELECT offsets FROM stream_batches WHERE query_name = %s AND checkpoint_id = %s AND batch_id = %s"
PARTITIONS = """
SELECT market.ensure_event_partitions(array_agg(DISTINCT (event_time AT TIME ZONE 'UTC')::date))
FROM staged_events HAVING count(*) > 0
"""
# The key has the event time in it (PostgreSQL wants the partition's column there), so an id that comes
# again with another time is looked for by hand, up to a day around the batch. OFFSET 0 keeps that one
# index probe a row: as a join the planner might read whole days.
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
    ON CONFLICT DO NOTHING RETURNING {_NEW_COLUMNS}
)
INSERT INTO new_events SELECT * FROM inserted
"""
#: What a batch that was committed before had added then.
RECALL_NEW = f"""
INSERT INTO new_events SELECT {", ".join(f"held.{name}" for name in _NEW_COLUMNS.split(", "))}
FROM staged_events came JOIN market_events held USING (event_id, event_time, kafka_partition, kafka_offset)
WHERE held.revision = 0
"""
LATE = """
INSERT INTO late_events (event_id, symbol, event_time, kafka_topic, kafka_partition, kafka_offset, reason, watermark)
SELECT new.event_id, new.symbol, new.event_time, came.topic, kafka_partition, kafka_offset,
       'older than the watermark', %(watermark)s
FROM new_events new JOIN staged_events came USING (kafka_partition, kafka_offset)
WHERE new.event_time < %(watermark)s
ON CONFLICT DO NOTHING
"""
DEAD_LETTERS = """
INSERT INTO dead_letters (topic, kafka_partition, kafka_offset, symbol, source, reason, payload)
SELECT topic, kafka_partition, kafka_offset, symbol, source, reason, decode(payload, 'hex')
FROM staged_refused ON CONFLICT DO NOTHING
"""
NEWEST_EVENT_TIME = "SELECT max(max_event_time) AS newest FROM stream_batches WHERE query_name = %s"
# OFFSET 0 again: window by window by the index on (symbol, event_time), however far apart they lie.
TOUCHED = f"""
COPY (
    SELECT found.* FROM (
        SELECT DISTINCT symbol, date_bin('{LONGEST_SECONDS} seconds', event_time, 'epoch') AS start FROM new_events
    ) touched CROSS JOIN LATERAL (
        SELECT {_TOUCHED_COLUMNS} FROM market_events
        WHERE symbol = touched.symbol AND event_time >= touched.start
          AND event_time < touched.start + interval '{LONGEST_SECONDS} seconds'
        OFFSET 0
    ) found
) TO STDOUT (FORMAT csv, HEADER)
"""
EVENTS_BETWEEN = f"""
COPY (
    SELECT {_TOUCHED_COLUMNS} FROM market_events
    WHERE asset_class = {{asset_class}} AND event_time >= {{start}} AND event_time < {{end}}
) TO STDOUT (FORMAT csv, HEADER)
"""
#: Writers of candles wait until this transaction has ended; readers do not.
LOCK_CANDLES = "LOCK TABLE candles IN SHARE ROW EXCLUSIVE MODE"
WINDOW_END = "window_start + CASE interval WHEN '1m' THEN interval '1 minute' ELSE interval '5 minutes' END"
UPSERT_CANDLES = f"""
INSERT INTO candles AS held ({CANDLE_COLUMNS}, asset_class, is_final, updated_at)
SELECT {CANDLE_COLUMNS}, %(asset_class)s, coalesce({WINDOW_END} <= %(watermark)s::timestamptz, false), now()
FROM staged_candles
ON CONFLICT (symbol, interval, window_start) DO UPDATE SET
    {", ".join(f"{name} = excluded.{name}" for name in FIGURES)},
    is_final = excluded.is_final OR held.is_final, updated_at = now()
WHERE ({", ".join(f"held.{name}" for name in FIGURES)}, held.is_final)
   IS DISTINCT FROM ({", ".join(f"excluded.{name}" for name in FIGURES)}, excluded.is_final OR held.is_final)
"""
FINALISE = f"""
UPDATE candles SET is_final = true, updated_at = now()
WHERE NOT is_final AND asset_class = %(asset_class)s AND {WINDOW_END} <= %(watermark)s::timestamptz
"""
LATEST = """
WITH newest AS (
    SELECT DISTINCT ON (symbol) symbol, close, source, currency, event_time, interval_seconds FROM new_events
    ORDER BY symbol, event_time + make_interval(secs => interval_seconds) DESC, kafka_offset DESC
), timed AS (
    SELECT *, (extract(epoch FROM event_time) * 1000000)::bigint AS micros,
           date_trunc('day', event_time, 'UTC') AS day FROM newest
)
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
LEDGER = """
INSERT INTO stream_batches (query_name, checkpoint_id, batch_id, epoch, offsets, rows_in, rows_new,
    rows_dead_lettered, rows_late, max_event_time)
VALUES (%(query_name)s, %(checkpoint_id)s, %(batch_id)s, %(epoch)s, %(offsets)s, %(rows_in)s, %(rows_new)s,
    %(rows_dead_lettered)s, %(rows_late)s, %(max_event_time)s)
"""
HAS_BATCHES = "SELECT EXISTS (SELECT 1 FROM stream_batches WHERE query_name = %s) AS known"
