"""`./pipeline sources`: who serves what, how each source fares, and what is left of its quotas."""

from __future__ import annotations

from datetime import UTC, datetime

from rich.console import Console, Group
from rich.table import Table

from include.logs import log_to_stderr
from include.market.event import MICROSECONDS
from include.producers.ingestion import system_clock
from include.producers.quota import QuotaUse
from include.producers.shared_gate import SharedGate, SourceReport
from include.settings import required, settings
from include.sources.registry import declarations
from include.storage.source_switches import SourceSwitches

SWITCHES_SHOWN = 8
_COLOURS = {"closed": "green", "half_open": "yellow", "open": "red"}
_WORDS = {"closed": "well", "half_open": "recovering", "open": "left alone"}


def show(out: Console) -> None:
    """Two tables: the sources, and the latest switches between them."""
    log_to_stderr()
    chosen = settings()
    now_us = system_clock()
    gate = SharedGate.connected(declarations(chosen), chosen)
    switches = SourceSwitches(required(chosen.reader_database_url or chosen.database_url, "DATABASE_URL"))
    try:
        out.print(Group(_sources(gate.describe(now_us), now_us), _switches(switches)))
    finally:
        gate.close()
        switches.close()


def _sources(reports: list[SourceReport], now_us: int) -> Table:
    table = Table("source", "state", "until (UTC)", "quota: used of limit", "why", box=None, pad_edge=False)
    for report in reports:
        health = report.health
        waits = health.state != "closed" and health.until > now_us / MICROSECONDS
        table.add_row(
            report.source,
            f"[{_COLOURS[health.state]}]{_WORDS[health.state]}[/]",
            f"{datetime.fromtimestamp(health.until, UTC):%m-%d %H:%M:%S}" if waits else "-",
            "; ".join(_quota(use, report.unit) for use in report.quotas),
            health.reason or "-",
        )
    return table


def _quota(use: QuotaUse, unit: str) -> str:
    return f"{use.used:,} of {use.limit.units:,} {unit} in {_span(use.limit.seconds)}"


def _span(seconds: int) -> str:
    for length, word in ((86_400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= length:
            count = seconds // length
            return f"a {word}" if count == 1 and word != "hour" else "an hour" if count == 1 else f"{count} {word}s"
    return f"{seconds} s"


def _switches(switches: SourceSwitches) -> Table:
    table = Table("switched (UTC)", "class", "kind", "from", "to", "why", box=None, pad_edge=False)
    for switch in switches.recent(SWITCHES_SHOWN):
        table.add_row(
            f"{switch.switched_at:%m-%d %H:%M:%S}",
            switch.asset_class,
            switch.kind,
            switch.from_source or "-",
            switch.to_source,
            switch.reason,
        )
    return table
