"""The ledger of gaps: what is missing, what each hole became, and which are to be asked for next."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import date, datetime, timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import psycopg
from psycopg.rows import dict_row

from include.market.event import AssetClass
from include.market.gaps import FEW, Cause, Changes, Gap, Span, changes, spans_of, within
from include.storage.database import libpq_url
from include.storage.history_sql import MISSING

if TYPE_CHECKING:
    from collections.abc import Iterator

#: So long the live path has to bring by itself what is missing, before a source is asked.
GRACE = timedelta(minutes=3)
#: A source may have a bar this much later than its minute: until then, to have nothing is no proof.
PROOF_AFTER = timedelta(minutes=15)
#: The n-th failure in a row waits 2^n times this, a day at most.
PAUSE = timedelta(minutes=2)
#: A repair that says nothing for so long has died.
REPAIR_LASTS = timedelta(minutes=15)

_LOCK = "SELECT pg_advisory_xact_lock(hashtext('market.data_gaps'))"
_MISSING = """
SELECT symbol, minute FROM missing_minutes(%(since)s, %(until)s, %(symbols)s) ORDER BY symbol, minute
"""
# A history is whole from its first candle on, whoever brought that; what lies before nobody asked for.
_INSTRUMENTS = """
SELECT i.symbol, i.asset_class, i.is_collected,
       coalesce((SELECT min(c.window_start) FROM candles c WHERE c.symbol = i.symbol AND c.interval = '1m'),
                i.collected_since) AS began
FROM instruments i
"""
_KNOWN = """
SELECT id, symbol, gap_start, gap_end, state FROM data_gaps
WHERE state <> 'filled' AND gap_start < %(until)s AND gap_end > %(since)s
  AND (%(symbols)s::text[] IS NULL OR symbol = ANY (%(symbols)s)) ORDER BY symbol, gap_start
"""
# Whatever came in that time shows that we were there; what came in its first two minutes may be of before.
_WAS_UP = """
SELECT EXISTS (
    SELECT FROM market_events WHERE event_time >= %(start)s - interval '1 hour' AND event_time < %(end)s
      AND ingested_at >= %(start)s + interval '2 minutes' AND ingested_at < %(end)s) AS up
"""
_OPEN = """
INSERT INTO data_gaps (symbol, interval, gap_start, gap_end, cause, next_attempt_at)
VALUES (%(symbol)s, '1m', %(start)s, %(end)s, %(cause)s, greatest(now() + %(grace)s, CASE
    WHEN %(end)s::timestamptz - %(start)s::timestamptz < %(few)s THEN %(end)s::timestamptz + %(proof)s END))
"""
_EXTEND = "UPDATE data_gaps SET gap_end = %s WHERE id = %s"
_CAUSE = "UPDATE data_gaps SET cause = %s WHERE id = %s AND cause = 'unknown'"
_COPY = """
INSERT INTO data_gaps (symbol, interval, gap_start, gap_end, cause, state, detected_at, closed_at, reason, attempts,
                       next_attempt_at)
SELECT symbol, interval, %(start)s, %(end)s, cause, coalesce(%(state)s, state), detected_at,
       CASE WHEN %(state)s IS NULL THEN closed_at ELSE now() END, reason, attempts, next_attempt_at
FROM data_gaps WHERE id = %(id)s
"""
_FILLED = "UPDATE data_gaps SET state = 'filled', closed_at = now(), gap_start = %s, gap_end = %s WHERE id = %s"
# What is most worth a call: many minutes, and today's rather than last week's.
_DUE = """
SELECT g.symbol, (g.gap_start AT TIME ZONE 'UTC')::date AS day,
       sum(extract(epoch FROM g.gap_end - g.gap_start) / 60)::int AS minutes,
       min(g.gap_start) AS since, max(g.gap_end) AS until, array_agg(g.id ORDER BY g.gap_start) AS ids,
       min(g.attempts) AS attempts
FROM data_gaps g JOIN instruments i USING (symbol)
WHERE g.closed_at IS NULL AND g.next_attempt_at <= now() AND i.asset_class = %(asset_class)s AND i.is_collected
GROUP BY g.symbol, day
ORDER BY sum(extract(epoch FROM g.gap_end - g.gap_start) / 60)
         / (1 + extract(epoch FROM now() - max(g.gap_end)) / 86400) DESC, g.symbol, day
LIMIT %(limit)s
"""
_BEGIN = """
UPDATE data_gaps SET state = 'repairing', attempts = attempts + 1, next_attempt_at = now() + %(lasts)s
WHERE closed_at IS NULL AND id = ANY (%(ids)s)
"""
# What is left of them by now may be in rows of its own, which are still being repaired; what was found since is not.
_PUT_OFF = """
UPDATE data_gaps SET state = 'open', reason = %(reason)s,
    next_attempt_at = now() + least(%(pause)s * power(2, least(attempts, 10)), interval '1 day')
WHERE state = 'repairing' AND symbol = %(symbol)s AND gap_start >= %(since)s AND gap_end <= %(until)s
"""
_GIVE_UP = """
UPDATE data_gaps SET state = 'unfillable', closed_at = now(), reason = %(reason)s, cause = CASE
    WHEN %(cause)s::text IS NOT NULL THEN %(cause)s
    WHEN cause <> 'unknown' THEN cause
    WHEN gap_end - gap_start >= %(few)s THEN 'halt' ELSE 'no trades' END
WHERE state = 'repairing' AND symbol = %(symbol)s AND gap_start >= %(since)s AND gap_end <= %(until)s
"""
_SESSION_DAYS = """
SELECT DISTINCT utc.day FROM trading_sessions s CROSS JOIN LATERAL generate_series(
    date_trunc('day', s.opens_at, 'UTC'), s.closes_at - interval '1 microsecond', interval '1 day') AS d (at)
CROSS JOIN LATERAL (SELECT (d.at AT TIME ZONE 'UTC')::date AS day) utc
WHERE s.asset_class = %(asset_class)s AND s.closes_at > %(first)s::date - 1 AND s.opens_at < %(last)s::date + 2
  AND utc.day BETWEEN %(first)s AND %(last)s ORDER BY utc.day
"""
_COLLECTED = "SELECT symbol FROM instruments WHERE is_collected AND symbol = ANY (%s) AND collected_since < %s"
_RESULTS = """
SELECT symbol, day, source IS NOT NULL OR missing_before = 0 AS is_done, bars_fetched AS fetched, bars_new AS new,
       bars_changed AS changed, bars_unchanged AS unchanged, bars_left AS left, bars_refused AS refused,
       missing_before, missing_after, calls
FROM backfill_results WHERE run_id = %s ORDER BY symbol, day
"""
_SPANS = """
SELECT gap_start, gap_end FROM data_gaps
WHERE closed_at IS NULL AND id = ANY (%(ids)s) ORDER BY gap_start
"""
_COUNTS = """
SELECT count(*) FILTER (WHERE closed_at IS NULL)::int AS open,
       coalesce(sum(extract(epoch FROM gap_end - gap_start) / 60) FILTER (WHERE closed_at IS NULL), 0)::int AS minutes
FROM data_gaps
"""


@dataclass(frozen=True, slots=True)
class Due:
    """Gaps of a symbol and UTC day to be asked for at once: `since` to `until` has them all, `minutes` are missing.

    `ids` are their rows as they are when they are due, `attempts` the fewest of any of them.
    """

    symbol: str
    day: date
    minutes: int
    since: datetime
    until: datetime
    ids: list[int]
    attempts: int


class GapStore:
    """One connection of the role pipeline_writer; every method may raise psycopg.Error."""

    def __init__(self, database_url: str) -> None:
        self._connection: psycopg.Connection[dict[str, Any]] = psycopg.connect(
            libpq_url(database_url),
            autocommit=True,
            connect_timeout=5,
            row_factory=dict_row,
            application_name="gaps",
            options="-c timezone=UTC -c jit=off -c statement_timeout=120000",
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._connection.close()

    def session_days(self, asset_class: AssetClass, first: date, last: date) -> list[date] | None:
        """The UTC days from first to last in which this class has a session; None where no sessions are known."""
        row = self._connection.execute("SELECT EXISTS (SELECT FROM trading_sessions) AS known").fetchone()
        if not (row and row["known"]):
            return None
        rows = self._connection.execute(_SESSION_DAYS, {"asset_class": asset_class, "first": first, "last": last})
        return [row["day"] for row in rows]

    def collected_before(self, symbols: Sequence[str], moment: datetime) -> list[str]:
        """Those of the symbols that were collected by then."""
        rows = self._connection.execute(_COLLECTED, (list(symbols), moment)).fetchall()
        collected = {row["symbol"] for row in rows}
        return [symbol for symbol in symbols if symbol in collected]

    def missing(self, window: Span, symbol: str) -> list[Span]:
        """Minutes in session of the window, and before now, without a bar or a trade."""
        rows = self._connection.execute(MISSING, {"symbol": symbol, "start": window.start, "end": window.end})
        return spans_of(row["minute"] for row in rows)

    def results(self, run_id: str) -> list[dict[str, Any]]:
        """What a backfill's run has done: symbol, day and counts of each part."""
        return self._connection.execute(_RESULTS, (run_id,)).fetchall()

    def follow(self, window: Span, symbols: Sequence[str] | None = None, *, only_known: bool = False) -> dict[str, int]:
        """Bring the ledger in step with what is missing in the window; counts of rows opened, extended, filled.

        Two at once wait for each other. `symbols` None: all that are collected. `only_known`: rows that are there
        follow, and none is opened.
        """
        bound = {"since": window.start, "until": window.end, "symbols": None if symbols is None else list(symbols)}
        counts = {"opened": 0, "extended": 0, "filled": 0}
        with self._locked():
            missing: defaultdict[str, list[datetime]] = defaultdict(list)
            for row in self._connection.execute(_MISSING, bound):
                missing[row["symbol"]].append(row["minute"])
            known: defaultdict[str, list[Gap]] = defaultdict(list)
            for row in self._connection.execute(_KNOWN, bound):
                known[row["symbol"]].append(Gap(row["id"], Span(row["gap_start"], row["gap_end"]), row["state"]))
            found = {symbol: spans_of(minutes) for symbol, minutes in missing.items()}
            instruments = self._connection.execute(_INSTRUMENTS).fetchall()
            began = {row["symbol"]: row["began"] for row in instruments}
            classes = {row["symbol"]: row["asset_class"] for row in instruments if row["is_collected"]}
            for symbol in sorted({*found, *known}):
                changed = changes(found.get(symbol, []), known[symbol], window, began[symbol])
                if only_known:
                    changed.opened, changed.extended = [], []
                causes = {span: self._cause(symbol, span, found, classes) for span in changed.opened}
                self._write(symbol, changed, causes)
                # What began as a few minutes of one symbol may turn out to be an outage.
                starts = {gap.id: gap.span.start for gap in known[symbol]}
                for id_, end in changed.extended:
                    cause = self._cause(symbol, Span(starts[id_], end), found, classes)
                    self._connection.execute(_CAUSE, (cause, id_))
                counts["opened"] += len(changed.opened)
                counts["extended"] += len(changed.extended)
                counts["filled"] += len(changed.filled)
        return counts

    def due(self, asset_class: AssetClass, limit: int) -> list[Due]:
        """What may be asked for now, the most valuable first."""
        rows = self._connection.execute(_DUE, {"asset_class": asset_class, "limit": limit})
        return [Due(**row) for row in rows]

    def spans(self, due: Due) -> list[Span]:
        """Its gaps, in order."""
        rows = self._connection.execute(_SPANS, asdict(due))
        return [Span(row["gap_start"], row["gap_end"]) for row in rows]

    def begin(self, due: Due) -> None:
        """Its gaps are being repaired."""
        self._connection.execute(_BEGIN, {**asdict(due), "lasts": REPAIR_LASTS})

    def put_off(self, due: Due, reason: str) -> None:
        """Nobody could say: it is asked for again later, each time after a longer pause."""
        self._connection.execute(_PUT_OFF, {**asdict(due), "reason": reason, "pause": PAUSE})

    def give_up(self, due: Due, reason: str, cause: Cause | None = None) -> int:
        """The sources have nothing for what is still open of it: it is not asked for again. How many rows."""
        return self._connection.execute(
            _GIVE_UP, {**asdict(due), "reason": reason, "cause": cause, "few": FEW}
        ).rowcount

    def counts(self) -> dict[str, int]:
        """Open gaps and their minutes."""
        row = self._connection.execute(_COUNTS).fetchone()
        assert row is not None  # an aggregate
        return dict(row)

    def _cause(
        self, symbol: str, span: Span, missing: Mapping[str, Sequence[Span]], classes: Mapping[str, str]
    ) -> Cause:
        """By what is known before a source is asked."""
        others = [one for one, its in classes.items() if its == classes.get(symbol) and one != symbol]
        if span.end - span.start < FEW or not all(_lacks(missing.get(one, ()), span) for one in others):
            return "unknown"
        row = self._connection.execute(_WAS_UP, {"start": span.start, "end": span.end}).fetchone()
        if not (row and row["up"]):
            return "our outage"
        return "source outage" if others else "unknown"

    def _write(self, symbol: str, changed: Changes, causes: Mapping[Span, Cause]) -> None:
        execute = self._connection.execute
        for span in changed.opened:
            row = {"symbol": symbol, "start": span.start, "end": span.end, "cause": causes[span]}
            execute(_OPEN, row | {"grace": GRACE, "proof": PROOF_AFTER, "few": FEW})
        for id_, end in changed.extended:
            execute(_EXTEND, (end, id_))
        left = dict(changed.shrunk)
        for id_, there in changed.filled:
            for span in left[id_]:
                execute(_COPY, {"id": id_, "start": span.start, "end": span.end, "state": None})
            for span in there[1:]:
                execute(_COPY, {"id": id_, "start": span.start, "end": span.end, "state": "filled"})
            execute(_FILLED, (there[0].start, there[0].end, id_))

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with self._connection.transaction():
            self._connection.execute(_LOCK)
            yield


def _lacks(spans: Sequence[Span], span: Span) -> bool:
    """Whether most of the span is missing: outages do not begin and end at one minute for all."""
    return 2 * sum(part.minutes for part in within(spans, span)) > span.minutes
