"""The status as a table that a person likes to read."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.table import Table
from rich.text import Text

from include.stack.status import Row

_MEBIBYTE = 2**20


def render(rows: Sequence[Row], market: str) -> Table:
    """One line a service; trouble stands out by sign and colour."""
    well = sum(row.healthy for row in rows)
    title = f"{market.upper()} · {well} of {len(rows)} healthy"
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("", "service", "state"):
        table.add_column(name, no_wrap=True)
    for name in ("pid", "port", "uptime", "memory"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("note", overflow="fold")
    for row in rows:
        sign = Text("●", "green") if row.healthy else Text("✗", "bold red")
        note = row.last_error if row.last_error else _lag(row)
        table.add_row(
            sign,
            row.service,
            Text(row.state, "" if row.healthy else "red"),
            str(row.pid or "-"),
            str(row.port or "-"),
            _duration(row.uptime_seconds),
            f"{row.memory_bytes / _MEBIBYTE:,.0f} MiB" if row.memory_bytes else "-",
            Text(note, "" if row.healthy else "red"),
        )
    return table


def _lag(row: Row) -> str:
    return "" if row.lag is None else f"lag {row.lag:,}"


def _duration(seconds: int) -> str:
    if seconds <= 0:
        return "-"
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} d {hours} h"
    if hours:
        return f"{hours} h {minutes:02} min"
    return f"{minutes} min {rest:02} s" if minutes else f"{rest} s"
