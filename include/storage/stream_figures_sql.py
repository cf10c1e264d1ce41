"""The statements of `stream_figures`: candles, indicators and anomalies of one transaction."""

from __future__ import annotations

from include.market.candle import FIGURES, INTERVALS, KEY, LONGEST_SECONDS, PARTIAL_FIGURES, PARTIAL_KEY

CANDLE_COLUMNS = ", ".join((*KEY, *FIGURES))
PARTIAL_COLUMNS = ", ".join((*PARTIAL_KEY, *PARTIAL_FIGURES))
EVENT_FIGURES = (
    "event_id, symbol, source, kind, event_time, interval_seconds, open, high, low, close, volume, "
    "kafka_partition, kafka_offset, revision"
)
_INDICATORS = (
    "sma_20", "ema_12", "ema_26", "bollinger_upper", "bollinger_middle", "bollinger_lower", "volatility_20",
    "log_return", "more",
)  # fmt: skip
#: Those of the registry that have a column; the others are in `more`.
INDICATOR_NAMES = frozenset(_INDICATORS)
INDICATOR_COLUMNS = ", ".join((*KEY, *_INDICATORS))
_MEASURES = ("value", "mean", "stddev", "z_score", "severity")
ANOMALY_COLUMNS = ", ".join((*KEY, "metric", *_MEASURES))
_KEY = ", ".join(KEY)
_SPAN = f"interval '{LONGEST_SECONDS} seconds'"
_INTERVALS = ", ".join(f"'{name}'" for name in INTERVALS)

STAGING = f"""
CREATE TEMP TABLE touched (symbol text, start timestamptz) ON COMMIT DELETE ROWS;
CREATE TEMP TABLE new_bars (event_id text, symbol text, event_time timestamptz, interval_seconds int)
    ON COMMIT DELETE ROWS;
CREATE TEMP TABLE recounted (symbol text, start timestamptz) ON COMMIT DELETE ROWS;
CREATE TEMP TABLE staged_candles ON COMMIT DELETE ROWS AS SELECT {CANDLE_COLUMNS} FROM candles WITH NO DATA;
CREATE TEMP TABLE staged_partials ON COMMIT DELETE ROWS
    AS SELECT {PARTIAL_COLUMNS} FROM candle_partials WITH NO DATA;
CREATE TEMP TABLE changed_candles ON COMMIT DELETE ROWS AS SELECT {_KEY} FROM candles WITH NO DATA;
CREATE TEMP TABLE scopes (symbol text, interval text, first timestamptz, since timestamptz, is_seeded boolean)
    ON COMMIT DELETE ROWS;
CREATE TEMP TABLE staged_indicators ON COMMIT DELETE ROWS AS SELECT {INDICATOR_COLUMNS} FROM indicators WITH NO DATA;
CREATE TEMP TABLE staged_anomalies ON COMMIT DELETE ROWS AS SELECT {ANOMALY_COLUMNS} FROM price_anomalies WITH NO DATA;
"""
# A partial adds up only what counts for sure. Where two bars tell of one minute, or a revision stands, or the
# partial is gone, the span is counted again from its events.
RECOUNTED = f"""
INSERT INTO recounted
SELECT symbol, start FROM touched WHERE EXISTS (
    SELECT FROM candles c WHERE c.symbol = touched.symbol AND c.interval IN ({_INTERVALS})
      AND c.window_start >= start AND c.window_start < start + {_SPAN}
      AND NOT EXISTS (SELECT FROM candle_partials p WHERE (p.symbol, p.interval, p.window_start)
                      = (c.symbol, c.interval, c.window_start)))
UNION
SELECT came.symbol, date_bin({_SPAN}, came.event_time, 'epoch') FROM new_bars came CROSS JOIN LATERAL (
    SELECT FROM counted_events held
    WHERE held.symbol = came.symbol AND held.event_time = came.event_time AND held.kind = 'bar'
      AND held.interval_seconds = came.interval_seconds AND (held.event_id, held.revision) <> (came.event_id, 0)
    LIMIT 1) other
"""
SPANS_RECOUNTED = "COPY recounted TO STDOUT (FORMAT csv, HEADER)"
# OFFSET 0: span by span by the index on (symbol, event_time), however far apart they lie.
EVENTS_RECOUNTED = f"""
COPY (
    SELECT found.* FROM recounted CROSS JOIN LATERAL (
        SELECT {EVENT_FIGURES} FROM counted_events
        WHERE symbol = recounted.symbol AND event_time >= start AND event_time < start + {_SPAN}
        OFFSET 0
    ) found
) TO STDOUT (FORMAT csv, HEADER)
"""
PARTIALS = f"""
COPY (
    SELECT found.* FROM (SELECT * FROM touched EXCEPT SELECT * FROM recounted) kept CROSS JOIN LATERAL (
        SELECT {PARTIAL_COLUMNS} FROM candle_partials
        WHERE symbol = kept.symbol AND interval IN ({_INTERVALS})
          AND window_start >= start AND window_start < start + {_SPAN}
        OFFSET 0
    ) found
) TO STDOUT (FORMAT csv, HEADER)
"""
EVENTS_BETWEEN = f"""
COPY (
    SELECT {EVENT_FIGURES} FROM counted_events
    WHERE asset_class = {{asset_class}} AND event_time >= {{start}} AND event_time < {{end}}
) TO STDOUT (FORMAT csv, HEADER)
"""
WINDOW_END = "window_start + CASE interval WHEN '1m' THEN interval '1 minute' ELSE interval '5 minutes' END"
UPSERT_CANDLES = f"""
WITH changed AS (
    INSERT INTO candles AS held ({CANDLE_COLUMNS}, asset_class, is_final, updated_at)
    SELECT {CANDLE_COLUMNS}, %(asset_class)s, coalesce({WINDOW_END} <= %(watermark)s::timestamptz, false), now()
    FROM staged_candles
    ON CONFLICT (symbol, interval, window_start) DO UPDATE SET
        {", ".join(f"{name} = excluded.{name}" for name in FIGURES)},
        is_final = excluded.is_final OR held.is_final, updated_at = now()
    WHERE ({", ".join(f"held.{name}" for name in FIGURES)}, held.is_final)
       IS DISTINCT FROM ({", ".join(f"excluded.{name}" for name in FIGURES)}, excluded.is_final OR held.is_final)
    RETURNING {_KEY}
)
INSERT INTO changed_candles SELECT * FROM changed
"""
UPSERT_PARTIALS = f"""
INSERT INTO candle_partials ({PARTIAL_COLUMNS}, asset_class) SELECT {PARTIAL_COLUMNS}, %(asset_class)s
FROM staged_partials ON CONFLICT ({", ".join(PARTIAL_KEY)}) DO UPDATE SET
    {", ".join(f"{name} = excluded.{name}" for name in PARTIAL_FIGURES)}
"""
#: Windows long behind the watermark seldom get an event more; then their events are read again.
PRUNE_PARTIALS = """
DELETE FROM candle_partials
WHERE asset_class = %(asset_class)s AND window_start < %(watermark)s::timestamptz - interval '1 hour'
"""
DROP_PARTIALS = """
DELETE FROM candle_partials WHERE asset_class = %s AND window_start >= %s AND window_start < %s
"""
FINALISE = f"""
UPDATE candles SET is_final = true, updated_at = now()
WHERE NOT is_final AND asset_class = %(asset_class)s AND {WINDOW_END} <= %(watermark)s::timestamptz
"""
# How far back the statistics look: see transforms/indicators. One candle more, so that the oldest return of the
# context has the close before it. Where a candle before has no indicators, nothing can be continued from.
SCOPES = """
INSERT INTO scopes
SELECT symbol, interval, first, CASE WHEN is_seeded THEN since ELSE 'epoch' END, is_seeded
FROM (SELECT symbol, interval, min(window_start) AS first FROM changed_candles GROUP BY symbol, interval) came
CROSS JOIN LATERAL (
    SELECT least(
        (SELECT min(window_start) FROM (
            SELECT window_start FROM candles c WHERE (c.symbol, c.interval) = (came.symbol, came.interval)
              AND c.window_start < first ORDER BY c.window_start DESC LIMIT %(closes)s) closes),
        (SELECT min(window_start) FROM (
            SELECT window_start FROM indicators i WHERE (i.symbol, i.interval) = (came.symbol, came.interval)
              AND i.window_start < first AND i.log_return IS NOT NULL
            ORDER BY i.window_start DESC LIMIT %(returns)s) returns),
        (SELECT min(window_start) FROM (
            SELECT window_start FROM candles c WHERE (c.symbol, c.interval) = (came.symbol, came.interval)
              AND c.window_start < first AND c.volume IS NOT NULL
            ORDER BY c.window_start DESC LIMIT %(volumes)s) volumes)
    ) AS oldest
) reach
CROSS JOIN LATERAL (
    SELECT coalesce(
        (SELECT max(window_start) FROM candles c WHERE (c.symbol, c.interval) = (came.symbol, came.interval)
           AND c.window_start < oldest), oldest, first) AS since
) context
CROSS JOIN LATERAL (
    SELECT NOT EXISTS (
        SELECT FROM candles c WHERE (c.symbol, c.interval) = (came.symbol, came.interval)
          AND c.window_start >= since AND c.window_start < first
          -- OFFSET 0: by the key, and not the whole table at once where the planner knows little of it.
          AND NOT EXISTS (SELECT FROM indicators i WHERE (i.symbol, i.interval, i.window_start)
                          = (c.symbol, c.interval, c.window_start) OFFSET 0)) AS is_seeded
) continued
"""
#: Too much hangs on these: the repair does them. Until then their newest candles are continued from what there is.
DEFER = """
WITH deferred AS (
    DELETE FROM scopes WHERE EXISTS (
        SELECT FROM candles c WHERE (c.symbol, c.interval) = (scopes.symbol, scopes.interval)
          AND c.window_start >= CASE WHEN is_seeded THEN first ELSE 'epoch' END
        OFFSET %(at_most)s) RETURNING *
)
INSERT INTO indicator_repairs AS held (symbol, interval, window_start)
SELECT symbol, interval, CASE WHEN is_seeded THEN first ELSE 'epoch' END FROM deferred
ON CONFLICT (symbol, interval) DO UPDATE SET window_start = least(held.window_start, excluded.window_start)
"""
RECORD_REPAIRS = """
INSERT INTO indicator_repairs AS held (symbol, interval, window_start)
SELECT symbol, interval, min(window_start) FROM {rows} GROUP BY symbol, interval
ON CONFLICT (symbol, interval) DO UPDATE SET window_start = least(held.window_start, excluded.window_start)
"""
REPAIRS = "SELECT symbol, interval FROM indicator_repairs ORDER BY recorded_at, symbol, interval"
TAKE_REPAIR = """
WITH taken AS (
    DELETE FROM indicator_repairs WHERE symbol = %s AND interval = %s RETURNING symbol, interval, window_start
)
INSERT INTO changed_candles SELECT * FROM taken
"""
CONTEXT = """
COPY (
    SELECT c.symbol, c.interval, c.window_start, c.close, c.volume, c.source {seeds}
    FROM scopes s
    JOIN candles c ON c.symbol = s.symbol AND c.interval = s.interval AND c.window_start >= s.since
    LEFT JOIN indicators i ON i.symbol = c.symbol AND i.interval = c.interval AND i.window_start = c.window_start
         AND c.window_start = s.since AND c.window_start < s.first
) TO STDOUT (FORMAT csv, HEADER)
"""
FIRSTS = """
COPY (SELECT symbol, interval, CASE WHEN is_seeded THEN first ELSE 'epoch' END AS first FROM scopes)
TO STDOUT (FORMAT csv, HEADER)
"""
UPSERT_INDICATORS = f"""
INSERT INTO indicators AS held ({INDICATOR_COLUMNS}, updated_at)
SELECT {INDICATOR_COLUMNS}, now() FROM staged_indicators
ON CONFLICT ({_KEY}) DO UPDATE SET
    {", ".join(f"{name} = excluded.{name}" for name in _INDICATORS)}, updated_at = now()
WHERE ({", ".join(f"held.{name}" for name in _INDICATORS)})
   IS DISTINCT FROM ({", ".join(f"excluded.{name}" for name in _INDICATORS)})
"""
_OUTBOX = """INSERT INTO anomaly_outbox (body)
SELECT jsonb_build_object(
    'anomaly_id', concat_ws(':', symbol, interval, (extract(epoch FROM window_start) * 1000000)::bigint, metric),
    'state', state, 'symbol', symbol, 'interval', interval,
    'window_start', (extract(epoch FROM window_start) * 1000000)::bigint, 'metric', metric, 'value', value,
    'mean', mean, 'stddev', stddev, 'z_score', z_score, 'severity', severity, 'schema_version', 1)"""
# What holds no more goes, and what a reader of the topic should know goes to the outbox with it: a new anomaly,
# another severity, one withdrawn.
REPLACE_ANOMALIES = f"""
WITH gone AS (
    DELETE FROM price_anomalies held USING staged_indicators again
    WHERE (held.symbol, held.interval, held.window_start) = (again.symbol, again.interval, again.window_start)
      AND NOT EXISTS (SELECT FROM staged_anomalies s WHERE (s.symbol, s.interval, s.window_start, s.metric)
                      = (held.symbol, held.interval, held.window_start, held.metric))
    RETURNING held.*, 'withdrawn' AS state
), put AS (
    INSERT INTO price_anomalies AS held ({ANOMALY_COLUMNS}) SELECT {ANOMALY_COLUMNS} FROM staged_anomalies
    ON CONFLICT ({_KEY}, metric) DO UPDATE SET {", ".join(f"{name} = excluded.{name}" for name in _MEASURES)}
    WHERE ({", ".join(f"held.{name}" for name in _MEASURES)})
       IS DISTINCT FROM ({", ".join(f"excluded.{name}" for name in _MEASURES)})
    RETURNING new.*, 'raised' AS state, old.severity AS before
)
{_OUTBOX}
FROM (
    SELECT {ANOMALY_COLUMNS}, state FROM gone
    UNION ALL SELECT {ANOMALY_COLUMNS}, state FROM put WHERE before IS DISTINCT FROM severity) told
ORDER BY window_start, symbol, interval, metric
"""
#: What candles do not show yet. Of a day that is in the archive only there are no events to count again: its rows wait
#: until it is brought back.
UNAPPLIED = """
q.applied_at IS NULL AND NOT EXISTS (
    SELECT FROM archived_days a WHERE a.relation = 'market_events' AND a.dropped_at IS NOT NULL
      AND a.day = (q.event_time AT TIME ZONE 'UTC')::date)"""
QUARANTINED_DAYS = f"""
SELECT DISTINCT asset_class, (event_time AT TIME ZONE 'UTC')::date AS day FROM quarantined_events q
WHERE {UNAPPLIED} ORDER BY day, asset_class
"""
# Before their windows' events are read: who decides about one of these rows waits, and what is held from here on is
# not marked.
TAKE_QUARANTINED = f"""
WITH taken AS (
    UPDATE quarantined_events q SET applied_at = now()
    WHERE {UNAPPLIED} AND asset_class = %s AND event_time >= %s AND event_time < %s
    RETURNING symbol, event_time
), spans AS (
    INSERT INTO recounted SELECT DISTINCT symbol, date_bin({_SPAN}, event_time, 'epoch') FROM taken
)
SELECT symbol, (extract(epoch FROM event_time) * 1000000)::bigint AS event_time FROM taken
"""
_IN_RECOUNTED = f"""
{{row}}.symbol = recounted.symbol AND {{row}}.interval IN ({_INTERVALS})
  AND {{row}}.window_start >= start AND {{row}}.window_start < start + {_SPAN}"""
# A window that has only events in quarantine has no candle, and what was built on it goes with it.
REMOVE_UNCOUNTED = f"""
WITH removed AS (
    DELETE FROM candles c USING recounted WHERE {_IN_RECOUNTED.format(row="c")}
      AND NOT EXISTS (SELECT FROM staged_candles s WHERE (s.symbol, s.interval, s.window_start)
                      = (c.symbol, c.interval, c.window_start))
    RETURNING c.symbol, c.interval, c.window_start
), without AS (
    DELETE FROM indicators i USING removed r
    WHERE (i.symbol, i.interval, i.window_start) = (r.symbol, r.interval, r.window_start)
), gone AS (
    DELETE FROM price_anomalies a USING removed r
    WHERE (a.symbol, a.interval, a.window_start) = (r.symbol, r.interval, r.window_start)
    RETURNING a.*, 'withdrawn' AS state
), told AS (
    {_OUTBOX} FROM gone told
)
INSERT INTO changed_candles SELECT * FROM removed
"""
DROP_PARTIALS_RECOUNTED = f"DELETE FROM candle_partials p USING recounted WHERE {_IN_RECOUNTED.format(row='p')}"
