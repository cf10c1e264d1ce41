"""`./pipeline lineage`: the events, batches, code and checks that made a candle."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any

import typer
from rich.console import Group
from rich.markup import escape
from rich.table import Table

from include.commands.console import one_line_errors, out
from include.errors import MarketDataError
from include.market.candle import INTERVALS, Candle, Interval
from include.market.event import plain
from include.market.moments import in_utc
from include.settings import required, settings
from include.storage.lineage_reads import LineageReader
from include.storage.lineage_rows import CoveringRun, LedgerBatch, Lineage, PlacedEvent
from include.storage.lineage_rules import window_of

#: More rows than a person reads; `--json` has all.
EVENTS_SHOWN = 60
BATCHES_SHOWN = 20
RUNS_SHOWN = 5
UNKNOWN = "not written down"


def lineage(
    symbol: Annotated[str, typer.Argument(metavar="SYMBOL", help="as in AAPL or BTC-USD")],
    time: Annotated[str, typer.Argument(metavar="TIME", help="any time in the window, ISO 8601, UTC unless it says")],
    interval: Annotated[str, typer.Option(help="1m or 5m")] = "1m",
    as_json: Annotated[bool, typer.Option("--json", help="for programs")] = False,
) -> None:
    """What made a candle: its events, counted or not and why, Kafka offsets, batches, code version, checks."""
    with one_line_errors():
        chosen, wanted = settings(), _interval(interval)
        moment = _moment(time, wanted)
        reader = LineageReader(required(chosen.reader_database_url or chosen.database_url, "DATABASE_URL"))
        try:
            found = reader.lineage(symbol.upper(), moment, wanted)
        finally:
            reader.close()
        if found is None:
            raise MarketDataError(
                f"there is no {wanted} candle of {symbol.upper()} at {moment:%Y-%m-%d %H:%M} UTC: look at "
                "./pipeline psql -c 'SELECT * FROM candles ORDER BY window_start DESC LIMIT 10'"
            )
    if as_json:
        # The API's own document; with it come packages that no other command needs.
        from include.api.lineage_schemas import LineageOut

        print(LineageOut.of(chosen.market or "", found).model_dump_json(indent=2))
    else:
        out.print(render(found))


def render(found: Lineage) -> Group:
    """The candle, then its events, batches, backfills and quality runs, and what a reader must know."""
    parts: list[Any] = [_headline(found.candle), _events(found.events), "", _batches(found)]
    if found.backfills:
        parts += ["", _backfills(found)]
    parts += ["", _runs(found.runs, found.runs_total)]
    parts += [f"[yellow]▲[/] {escape(note)}" for note in found.notes]
    return Group(*parts)


def _headline(candle: Candle) -> str:
    figures = ", ".join(f"{name} {_figure(getattr(candle, name))}" for name in ("open", "high", "low", "close"))
    return (
        f"[bold]{escape(candle.symbol)} {candle.interval} {candle.window_start:%Y-%m-%d %H:%M} UTC[/]: {figures}, "
        f"volume {_figure(candle.volume)}\n{candle.event_count} events, closed by {escape(candle.source)}, "
        f"{'final' if candle.is_final else 'not final'}, last changed {candle.updated_at:%Y-%m-%d %H:%M:%S}\n"
    )


def _events(events: Sequence[PlacedEvent]) -> Table:
    verdicts = Counter(event.judged.verdict for event in events)
    counts = ", ".join(f"{count} {verdict}" for verdict, count in verdicts.items()) or "none"
    table = Table("", f"event ({counts})", "at (UTC)", "rev", "close", "volume", "kafka", "batch", "came (UTC)",
                  "why not", box=None, pad_edge=False)  # fmt: skip
    # Those that are counted may be thousands; those that are not are what people ask about.
    left_out = [event for event in events if not event.judged.is_used]
    shown = {id(event) for event in (left_out + [e for e in events if e.judged.is_used])[:EVENTS_SHOWN]}
    for event in events:
        if id(event) in shown:
            row = event.judged.row
            table.add_row(
                "[green]✓[/]" if event.judged.is_used else "[yellow]✕[/]",
                escape(row.event_id),
                f"{row.event_time:%H:%M:%S.%f}"[:-3],
                str(row.revision),
                _figure(row.close),
                _figure(row.volume),
                f"{row.kafka_partition}/{row.kafka_offset}" if row.is_by_kafka else "backfill",
                str(event.batch.batch_id) if event.batch else "-",
                f"{row.ingested_at:%m-%d %H:%M:%S}",
                escape(event.judged.why or ""),
            )
    if len(events) > len(shown):
        table.add_row("", f"... and {len(events) - len(shown)} more: --json has all")
    return table


def _batches(found: Lineage) -> Table:
    stored = Counter(id(event.batch) for event in found.events if event.batch)
    table = Table("batch", "query", "checkpoint", "epoch", "offsets", "events of it", "committed (UTC)", "code",
                  box=None, pad_edge=False)  # fmt: skip
    for batch in found.batches[:BATCHES_SHOWN]:
        table.add_row(
            str(batch.batch_id),
            escape(batch.query_name),
            escape(batch.checkpoint_id[:8]),
            str(batch.epoch),
            _offsets(batch),
            str(stored[id(batch)]),
            f"{batch.committed_at:%m-%d %H:%M:%S}",
            escape(batch.code_version or UNKNOWN),
        )
    if len(found.batches) > BATCHES_SHOWN:
        table.add_row(f"... and {len(found.batches) - BATCHES_SHOWN} more")
    if not found.batches:
        table.add_row("none")
    return table


def _offsets(batch: LedgerBatch) -> str:
    """`partition: first-last` of each, both included."""
    spans = [(number, span) for partitions in batch.offsets.values() for number, span in partitions.items()]
    return ", ".join(f"{number}: {first}-{past - 1}" for number, (first, past) in sorted(spans))


def _backfills(found: Lineage) -> Table:
    table = Table("backfill of that day", "source", "new", "changed", "finished (UTC)", box=None, pad_edge=False)
    for each in found.backfills:
        cells = (each.run_id, each.source or "-", str(each.bars_new), str(each.bars_changed))
        table.add_row(*map(escape, cells), f"{each.finished_at:%m-%d %H:%M:%S}")
    return table


def _runs(runs: Sequence[CoveringRun], total: int) -> Table:
    """The newest runs, those with a finding about the candle first; a line under each that has one."""
    shown = sorted(runs, key=lambda run: not run.findings)[:RUNS_SHOWN]
    table = Table(f"quality run ({len(shown)} of {total})", "began (UTC)", "passed", "critical", "warnings",
                  "about this candle", "code", box=None, pad_edge=False)  # fmt: skip
    for run in shown:
        about = "; ".join(f"{each.severity}: {each.check_name}: {each.observed or '-'}" for each in run.findings)
        table.add_row(
            escape(run.run_id),
            f"{run.started_at:%m-%d %H:%M:%S}",
            str(run.passed),
            str(run.failed_critical),
            str(run.failed_warning),
            escape(about or "nothing found"),
            escape(run.code_version or UNKNOWN),
        )
    if not shown:
        table.add_row("none has looked at it yet")
    return table


def _interval(said: str) -> Interval:
    for known in INTERVALS:
        if said == known:
            return known
    raise MarketDataError(f"--interval {said}: candles are stored as {' and '.join(INTERVALS)}")


def _moment(said: str, interval: Interval) -> datetime:
    """The start of the window."""
    try:
        return window_of(in_utc(datetime.fromisoformat(said)), interval)[0]
    except (ValueError, OverflowError):
        raise MarketDataError(f"{said} is no time: write it like 2026-03-02T14:30 or 2026-03-02T14:30:00Z") from None


def _figure(value: Decimal | None) -> str:
    return "-" if value is None else plain(value)
