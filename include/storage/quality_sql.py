"""The statements of `quality_reads` and `quality_metrics`: each goes by an index or over few rows."""

from __future__ import annotations

_RUN = """
SELECT run_id, dag_run_id, started_at, finished_at, covered_from, covered_until, suites, symbols,
       passed, failed_critical, failed_warning, summary
FROM quality_runs
"""
RUN = f"{_RUN} WHERE run_id = %(run_id)s"
NEWEST_RUN = f"{_RUN} WHERE finished_at IS NOT NULL ORDER BY started_at DESC LIMIT 1"
UNFINISHED_RUN = f"""
{_RUN} WHERE finished_at IS NULL AND started_at > coalesce(
    (SELECT started_at FROM quality_runs WHERE finished_at IS NOT NULL ORDER BY started_at DESC LIMIT 1), '-infinity')
ORDER BY started_at DESC LIMIT 1
"""
NEIGHBOURS = """
SELECT (SELECT run_id FROM quality_runs WHERE finished_at IS NOT NULL AND started_at < %(started_at)s
        ORDER BY started_at DESC LIMIT 1) AS older,
       (SELECT run_id FROM quality_runs WHERE finished_at IS NOT NULL AND started_at > %(started_at)s
        ORDER BY started_at LIMIT 1) AS newer
"""
# A step is one point, and that is the worst of its runs.
RATES = """
SELECT DISTINCT ON (step) run_id, started_at, passed, failed_critical, failed_warning,
       date_bin(%(step)s, started_at, 'epoch') AS step
FROM quality_runs WHERE finished_at IS NOT NULL AND started_at >= %(since)s AND started_at < %(until)s
ORDER BY step, failed_critical DESC, failed_warning DESC, started_at DESC
"""
# A run that was tried again may have written twice: the last writing counts, whose rows share their time.
# OFFSET 0: by the index on run_id, and not back in time until the run is met.
_RESULTS = """
FROM data_quality_results r WHERE r.run_id = %(run_id)s AND r.checked_at = (
    SELECT max(checked_at) FROM (
        SELECT checked_at FROM data_quality_results WHERE run_id = %(run_id)s OFFSET 0) written)
"""
RESULTS = f"""
SELECT checked_at, suite, check_name, dimension, severity, symbol, passed, observed, expected, measured, reason,
       failing_rows, failing_keys
{_RESULTS}
ORDER BY passed, array_position(ARRAY['critical', 'warning', 'info'], severity), suite, dimension, check_name,
         symbol NULLS FIRST
LIMIT %(limit)s
"""
# A run by hand of a day gone by measures that day's end; it is no point of the course until now.
SERIES = """
SELECT symbol, dimension, date_bin(%(step)s, checked_at, 'epoch') AS at, bool_and(passed) AS passed,
       CASE dimension WHEN 'freshness' THEN max(measured) ELSE min(measured) END AS measured
FROM data_quality_results
WHERE symbol IS NOT NULL AND dimension IN ('freshness', 'completeness')
  AND checked_at >= %(since)s AND checked_at < %(until)s AND covered_until > checked_at - interval '1 hour'
  AND (%(symbol)s::text IS NULL OR symbol = %(symbol)s)
GROUP BY symbol, dimension, date_bin(%(step)s, checked_at, 'epoch')
ORDER BY symbol, dimension, at
"""
DAY_BEFORE = f"""
{_RUN} WHERE finished_at IS NOT NULL
  AND started_at BETWEEN %(started_at)s - interval '48 hours' AND %(started_at)s - interval '18 hours'
  AND suites @> %(suites)s AND suites <@ %(suites)s AND symbols IS NOT DISTINCT FROM %(symbols)s
ORDER BY abs(extract(epoch FROM started_at - %(started_at)s + interval '24 hours')) LIMIT 1
"""
CHANGES = f"""
WITH now_found AS (SELECT r.* {_RESULTS}),
     then_found AS (SELECT r.* {_RESULTS.replace("run_id)s", "before)s")})
SELECT n.suite, n.check_name, n.dimension, n.severity, n.symbol, n.passed, t.observed AS observed_before,
       n.observed AS observed_now
FROM now_found n JOIN then_found t ON (n.suite, n.check_name) = (t.suite, t.check_name)
 AND n.symbol IS NOT DISTINCT FROM t.symbol
WHERE n.passed <> t.passed
ORDER BY n.passed, array_position(ARRAY['critical', 'warning', 'info'], n.severity), n.check_name, n.symbol NULLS FIRST
LIMIT %(limit)s
"""
# Both by the partial index of what is not released.
HELD = """
SELECT event_id, revision, event_time, symbol, check_name, reason, quarantined_at, run_id
FROM quarantined_events WHERE state = 'held' ORDER BY quarantined_at DESC, symbol, event_time LIMIT %(limit)s
"""
HELD_COUNT = "SELECT count(*) AS held FROM quarantined_events WHERE state = 'held'"
# As operations/retention.py has it: a cold day that got rows again is hot.
ARCHIVE = r"""
WITH days AS (
    SELECT relation, day, bool_or(dropped_at IS NULL) AS is_warm, false AS is_held, sum(rows) AS rows,
           sum(bytes) AS bytes
    FROM archived_days GROUP BY relation, day
    UNION ALL
    SELECT parent.relname, to_date(right(child.relname, 8), 'YYYYMMDD'), false, true, 0, 0
    FROM pg_inherits JOIN pg_class child ON child.oid = inhrelid JOIN pg_class parent ON parent.oid = inhparent
    WHERE parent.relnamespace = 'market'::regnamespace AND parent.relkind = 'p' AND child.relname ~ '_p\d{8}$'
), states AS (
    SELECT relation, day, sum(rows) AS rows, sum(bytes) AS bytes,
           CASE WHEN bool_or(is_warm) THEN 'warm' WHEN bool_or(is_held) THEN 'hot' ELSE 'cold' END AS state
    FROM days WHERE day <= (now() AT TIME ZONE 'UTC')::date GROUP BY relation, day
)
SELECT relation, count(*) FILTER (WHERE state = 'hot') AS hot, count(*) FILTER (WHERE state = 'warm') AS warm,
       count(*) FILTER (WHERE state = 'cold') AS cold, min(day) AS first_day, sum(rows)::bigint AS rows_filed,
       sum(bytes)::bigint AS bytes_filed
FROM states GROUP BY relation ORDER BY relation DESC
"""
