"""Which events of a window its candle counts, and why not the others (contract §8); what a check said of it. Pure.

The same rules as `market.candles_as_of` in SQL and `spark_jobs/transforms/candles.py` in Arrow, which give the figures
and no reasons.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Context, Decimal
from typing import Any

from include.market.candle import INTERVAL_SECONDS, Candle, Interval
from include.storage.lineage_rows import Finding, JudgedEvent, LedgerBatch, StoredRow, Verdict

#: A sum of volumes of 28 digits has no place in the usual context.
_EXACT = Context(prec=80)
#: The place of rows that did not come by Kafka: after all that did.
_NO_OFFSET = 2**63 - 1


def arrival(row: StoredRow) -> tuple[int, int, str]:
    """Kafka's order, then the id."""
    return (_NO_OFFSET if row.kafka_offset is None else row.kafka_offset, row.kafka_partition or 0, row.event_id)


def judged(rows: Iterable[StoredRow], interval: Interval) -> list[JudgedEvent]:
    """All rows of one window of a symbol, each with its verdict, in the order in which the candle takes them."""
    ordered = sorted(rows, key=lambda row: (row.event_time, *arrival(row), row.revision))
    verdicts: dict[int, tuple[Verdict, str]] = {}
    free = _without_quarantined(ordered, verdicts)
    newest = _newest(free, verdicts)
    once = _first_bars(newest, verdicts)
    seconds = INTERVAL_SECONDS[interval]
    fitting = [row for row in once if row.interval_seconds <= seconds]
    for row in once:
        if row.interval_seconds > seconds:
            verdicts[id(row)] = (
                "too_long",
                f"a bar of {row.interval_seconds} s is longer than the window of {seconds} s",
            )
    if any(row.kind != "quote" for row in fitting):
        for row in fitting:
            if row.kind == "quote":
                verdicts[id(row)] = "outranked", "quotes count only where there is neither bar nor trade"
    return [JudgedEvent(row, *verdicts.get(id(row), ("used", None))) for row in ordered]


def differing(candle: Candle, used: Sequence[StoredRow]) -> tuple[str, ...]:
    """Columns of the candle that these events, in their order, do not give. Its vwap is not counted again."""
    if not used:
        return ("event_count",)
    volumes = [row.volume for row in used if row.volume is not None]
    total: Decimal | None = None
    for volume in volumes:
        total = volume if total is None else _EXACT.add(total, volume)
    made = {
        "open": used[0].open,
        "high": max(row.high for row in used),
        "low": min(row.low for row in used),
        "close": used[-1].close,
        "volume": total,
        "event_count": len(used),
        "source": used[-1].source,
    }
    return tuple(name for name, figure in made.items() if getattr(candle, name) != figure)


def keys_about(
    keys: Iterable[Mapping[str, Any]],
    symbol: str,
    window: tuple[datetime, datetime],
    batches: Sequence[LedgerBatch],
) -> list[dict[str, Any]]:
    """Those failing keys of a check that name the symbol at no other time, or a batch of the candle."""
    known = {(batch.query_name, batch.checkpoint_id, batch.batch_id) for batch in batches}

    def is_about(key: Mapping[str, Any]) -> bool:
        if (key.get("query_name"), key.get("checkpoint_id"), key.get("batch_id")) in known:
            return True
        if key.get("symbol") != symbol:
            return False
        said = key.get("window_start") or key.get("event_time")
        return said is None or window[0] <= datetime.fromisoformat(str(said)) < window[1]

    return [dict(key) for key in keys if is_about(key)]


def findings_by_run(
    failed: Iterable[Mapping[str, Any]],
    symbol: str,
    window: tuple[datetime, datetime],
    batches: Sequence[LedgerBatch],
) -> dict[str, list[Finding]]:
    """Of failed results (rows of data_quality_results with `failing_keys`) those about the candle, by run."""
    found: dict[str, list[Finding]] = {}
    for row in failed:
        keys = keys_about(row["failing_keys"], symbol, window, batches)
        if row["symbol"] == symbol or keys:
            columns = {name: row[name] for name in Finding.__dataclass_fields__ if name != "keys"}
            found.setdefault(row["run_id"], []).append(Finding(**columns, keys=keys))
    return found


def window_of(moment: datetime, interval: Interval) -> tuple[datetime, datetime]:
    """Start and end of the window that the moment (UTC) lies in. Raises OverflowError at the calendar's end."""
    length = timedelta(seconds=INTERVAL_SECONDS[interval])
    epoch = moment.replace(year=1970, month=1, day=1, hour=0, minute=0, second=0, microsecond=0)
    start = moment - (moment - epoch) % length
    return start, start + length


def _without_quarantined(rows: Sequence[StoredRow], verdicts: dict[int, tuple[Verdict, str]]) -> list[StoredRow]:
    for row in rows:
        if row.quarantine in ("held", "dropped"):
            state = "held in quarantine" if row.quarantine == "held" else "dropped from quarantine"
            verdicts[id(row)] = "quarantined", f"{state} by {row.check_name}: {row.reason}"
    return [row for row in rows if id(row) not in verdicts]


def _newest(rows: Sequence[StoredRow], verdicts: dict[int, tuple[Verdict, str]]) -> list[StoredRow]:
    newest: dict[str, StoredRow] = {}
    for row in rows:
        held = newest.get(row.event_id)
        if held is None or row.revision > held.revision:
            newest[row.event_id] = row
    for row in rows:
        counts = newest[row.event_id]
        if counts is not row:
            verdicts[id(row)] = "superseded", f"revision {counts.revision} counts"
    return [row for row in rows if newest[row.event_id] is row]


def _first_bars(rows: Sequence[StoredRow], verdicts: dict[int, tuple[Verdict, str]]) -> list[StoredRow]:
    first: dict[tuple[datetime, int], StoredRow] = {}
    for row in sorted((row for row in rows if row.kind == "bar"), key=arrival):
        counts = first.setdefault((row.event_time, row.interval_seconds), row)
        if counts is not row:
            verdicts[id(row)] = "second_bar", f"{counts.event_id} tells of the same {row.interval_seconds} s"
    return [row for row in rows if id(row) not in verdicts]
