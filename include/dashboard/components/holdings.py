"""Events in quarantine, and where the days of the archive are."""

from __future__ import annotations

from typing import Any

from dash import html

from include.dashboard.components.notice import notice
from include.dashboard.components.table import table
from include.dashboard.formatting import moment_text, size_text
from include.dashboard.quality_view import Picture


def quarantine(picture: Picture) -> Any:
    """The newest of what waits for a decision."""
    if not picture.held_count:
        return notice("Nothing is held", "rows that fail a critical validity check would wait here", "calm")
    caption = f"{len(picture.held)} of {picture.held_count} held; candles are counted without them until decided"
    rows = [
        [
            each.symbol,
            f"{moment_text(each.event_time)} UTC",
            html.Span([each.check_name, html.Span(each.reason, className="hint")], className="stacked"),
            each.event_id if not each.revision else f"{each.event_id} (revision {each.revision})",
            f"{moment_text(each.quarantined_at)} UTC",
        ]
        for each in picture.held
    ]
    return table(("Symbol", "Event time", "Check", "Event", "Held since"), rows, caption)


def archive(picture: Picture) -> Any:
    """Days by table: hot in PostgreSQL, warm in a file too, cold in a file only."""
    if not picture.archive:
        return notice("No day yet", "a table's first day makes its first partition")
    rows = [
        [
            each.relation,
            f"{each.first_day}",
            f"{each.hot}",
            f"{each.warm}",
            f"{each.cold}",
            f"{each.rows_filed:,}",
            size_text(each.bytes_filed),
        ]
        for each in picture.archive
    ]
    return table(
        ("Table", "Since", "Hot", "Warm", "Cold", "Rows filed", "Files"),
        rows,
        "Days: hot in PostgreSQL, warm in a file as well, cold in a file only",
    )
