"""The statements of `lineage_reads`: each goes by the partition of a day and an index, or over few rows."""

from __future__ import annotations

from dataclasses import fields

from include.market.candle import Candle

_CANDLE = ", ".join(field.name for field in fields(Candle))
CANDLE = f"""
SELECT {_CANDLE} FROM candles WHERE symbol = %(symbol)s AND interval = %(interval)s AND window_start = %(start)s
"""
# What is asked here is to be one picture; no day can leave the table meanwhile.
ONE_PICTURE = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"
NO_DAY_LEAVES = "LOCK TABLE ONLY market_events IN ACCESS SHARE MODE"
IS_COLD = """
SELECT EXISTS (SELECT FROM archived_days WHERE relation = 'market_events' AND dropped_at IS NOT NULL
    AND day = (%(start)s AT TIME ZONE 'UTC')::date) AS is_cold
"""
EVENTS = """
SELECT e.event_id, e.asset_class, e.source, e.kind, e.event_time, e.interval_seconds, e.open, e.high, e.low, e.close,
    e.volume, e.ingested_at, e.kafka_partition, e.kafka_offset, e.revision, q.state AS quarantine, q.check_name,
    q.reason, q.applied_at IS NOT NULL OR q.state IS NULL AS quarantine_shown
FROM market_events e LEFT JOIN quarantined_events q
  ON (q.event_id, q.revision, q.event_time) = (e.event_id, e.revision, e.event_time)
WHERE e.symbol = %(symbol)s AND e.event_time >= %(start)s AND e.event_time < %(end)s
ORDER BY e.event_time, e.event_id, e.revision LIMIT %(limit)s
"""
_BATCH = """
query_name, checkpoint_id, batch_id, epoch, offsets, rows_in, rows_new, committed_at, code_version, min_event_time,
max_event_time
"""
# The first that was committed since the event came and that stored it (LedgerBatch.stored), with those after it, which
# have the next events: offsets only grow, so by the index on the time of the commit it is a few rows away.
BATCHES = f"""
WITH first AS (
    SELECT committed_at FROM stream_batches
    WHERE committed_at >= %(since)s AND committed_at < %(until)s AND query_name = %(query_name)s
      AND (offsets -> %(topic)s -> %(partition)s ->> 0)::bigint <= %(offset)s
      AND (offsets -> %(topic)s -> %(partition)s ->> 1)::bigint > %(offset)s
      AND rows_new > 0 AND max_event_time >= %(event_time)s
      AND coalesce(min_event_time <= %(event_time)s, true)
    ORDER BY committed_at LIMIT 1
)
SELECT {_BATCH} FROM stream_batches
WHERE committed_at >= (SELECT committed_at FROM first) AND query_name = %(query_name)s
ORDER BY committed_at, batch_id LIMIT %(ahead)s
"""
BACKFILLS = """
SELECT run_id, source, bars_new, bars_changed, finished_at FROM backfill_results
WHERE symbol = %(symbol)s AND day = (%(start)s AT TIME ZONE 'UTC')::date AND bars_new + bars_changed > 0
ORDER BY finished_at
"""
# A run looks at what was before it began.
RUNS = """
SELECT run_id, started_at, covered_from, covered_until, passed, failed_critical, failed_warning, code_version,
       count(*) OVER () AS total
FROM quality_runs
WHERE started_at >= %(start)s AND finished_at IS NOT NULL AND covered_from < %(end)s AND covered_until > %(start)s
  AND (symbols IS NULL OR %(symbol)s = ANY (symbols))
ORDER BY started_at DESC LIMIT %(limit)s
"""
# A run that was tried again may have written twice: the last writing counts, whose rows share their time. OFFSET 0: by
# the index on run_id.
FAILED = """
SELECT r.run_id, r.suite, r.check_name, r.severity, r.symbol, r.observed, r.expected, r.reason, r.failing_keys
FROM data_quality_results r
WHERE r.run_id = ANY (%(runs)s) AND r.checked_at >= %(start)s AND NOT r.passed AND r.checked_at = (
    SELECT max(checked_at) FROM (
        SELECT checked_at FROM data_quality_results w WHERE w.run_id = r.run_id AND w.checked_at >= %(start)s OFFSET 0
    ) written)
ORDER BY r.run_id, array_position(ARRAY['critical', 'warning', 'info'], r.severity), r.suite, r.check_name
"""
