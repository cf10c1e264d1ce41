"""The statements of `history_store`: bars that were asked for once more, compared with what is held."""

from __future__ import annotations

from include.market.candle import INTERVALS, LONGEST_SECONDS
from include.storage.stream_sql import EVENT_COLUMNS

_SPAN = f"interval '{LONGEST_SECONDS} seconds'"
_INTERVALS = ", ".join(f"'{name}'" for name in INTERVALS)
FIGURES = ("open", "high", "low", "close", "volume", "currency")

STAGING = """
CREATE TEMP TABLE judged_bars (event_id text, symbol text, event_time timestamptz, revision int, verdict text,
    times numeric)
    ON COMMIT DELETE ROWS;
"""
# A bar that another source has given, or whose trades are held, would tell of its minute a second time.
JUDGE = f"""
INSERT INTO judged_bars
SELECT came.event_id, came.symbol, came.event_time, coalesce(held.revision + 1, 0),
    CASE WHEN held.event_id IS NOT NULL THEN
        CASE WHEN ({", ".join(f"held.{name}" for name in FIGURES)})
                  IS DISTINCT FROM ({", ".join(f"came.{name}" for name in FIGURES)})
             THEN 'changed' ELSE 'unchanged' END
    WHEN EXISTS (
        SELECT FROM counted_events other WHERE other.symbol = came.symbol AND other.event_time >= came.event_time
          AND other.event_time < came.event_time + make_interval(secs => came.interval_seconds)
          AND (other.kind = 'trade' OR other.kind = 'bar' AND other.event_time = came.event_time
               AND other.interval_seconds = came.interval_seconds))
    THEN 'left' ELSE 'new' END,
    came.close / held.close
FROM staged_events came LEFT JOIN LATERAL (
    SELECT * FROM market_events held WHERE held.event_id = came.event_id AND held.event_time = came.event_time
    ORDER BY held.revision DESC LIMIT 1) held ON true
"""
INSERT = f"""
INSERT INTO market_events ({EVENT_COLUMNS}, revision)
SELECT {", ".join(f"came.{name}" for name in EVENT_COLUMNS.split(", "))}, judged.revision
FROM staged_events came JOIN judged_bars judged USING (event_id, event_time)
WHERE judged.verdict IN ('new', 'changed')
"""
# Also the minutes whose event is there and whose candle or indicators are not: what was lost is counted again.
SPANS = f"""
INSERT INTO recounted
SELECT DISTINCT symbol, date_bin({_SPAN}, event_time, 'epoch') FROM judged_bars judged
WHERE verdict IN ('new', 'changed') OR (
    SELECT count(*) FROM candles c JOIN indicators i USING (symbol, interval, window_start)
    WHERE c.symbol = judged.symbol AND (c.interval = '1m' AND c.window_start = date_bin('1 minute', event_time, 'epoch')
        OR c.interval = '5m' AND c.window_start = date_bin('5 minutes', event_time, 'epoch'))) < 2
"""
# OFFSET 0: span by span by the keys, however long the history is.
UNPAIRED = f"""
INSERT INTO changed_candles
SELECT c.symbol, c.interval, c.window_start FROM recounted r CROSS JOIN LATERAL (
    SELECT c.symbol, c.interval, c.window_start FROM candles c
    WHERE c.symbol = r.symbol AND c.interval IN ({_INTERVALS})
      AND c.window_start >= r.start AND c.window_start < r.start + {_SPAN}
    OFFSET 0) c
WHERE NOT EXISTS (
    SELECT FROM indicators i WHERE (i.symbol, i.interval, i.window_start) = (c.symbol, c.interval, c.window_start)
    OFFSET 0)
"""
VERDICTS = "SELECT verdict, count(*)::int AS bars FROM judged_bars GROUP BY verdict"
#: By how much the closes of bars that are held, and came in other figures, differ.
OFF = """
SELECT count(*)::int AS bars, percentile_disc(0.5) WITHIN GROUP (ORDER BY times) AS times
FROM judged_bars WHERE times <> 1
"""
KEEP_HELD = "UPDATE judged_bars SET verdict = 'unchanged' WHERE verdict = 'changed'"
MISSING = """
SELECT minute FROM missing_minutes(%(start)s, least(%(end)s, date_trunc('minute', now())), ARRAY[%(symbol)s])
ORDER BY minute
"""
_COLUMNS = (
    "run_id", "symbol", "day", "interval", "source", "bars_fetched", "bars_new", "bars_changed", "bars_unchanged",
    "bars_left", "bars_refused", "missing_before", "missing_after", "calls", "reason",
)  # fmt: skip
#: A task that is tried again tells what both tries did together; what was missing is what the first one met.
_ADDED = ("bars_fetched", "bars_new", "bars_changed", "bars_refused", "calls")
_REPLACED = ("source", "bars_unchanged", "bars_left", "missing_after", "reason")
RESULT = f"""
INSERT INTO backfill_results AS held ({", ".join(_COLUMNS)})
VALUES ({", ".join(f"%({name})s" for name in _COLUMNS)})
ON CONFLICT (run_id, symbol, day, interval) DO UPDATE SET finished_at = now(),
    {", ".join(f"{name} = held.{name} + excluded.{name}" for name in _ADDED)},
    {", ".join(f"{name} = excluded.{name}" for name in _REPLACED)}
"""
