"""Minutes in session that are missing, and what becomes of each hole."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from dash import html

from include.dashboard.components.notice import notice
from include.dashboard.components.table import table
from include.dashboard.formatting import moment_text
from include.dashboard.operations_view import GapsPicture
from include.dashboard.operations_words import moment_of
from include.storage.operations_rows import GapCounts, GapRow

_SIGNS = {"open": ("▲", "warn"), "repairing": ("◐", "warn"), "unfillable": ("■", "waiting")}
_COLUMNS = ("Symbol", "From (UTC)", "To", "Minutes", "Cause", "State", "Reason", "Attempts", "Next attempt")


def data_gaps(picture: GapsPicture, now: datetime) -> Any:
    """Open ones first, then those that nobody can fill; each the newest first."""
    if not picture.gaps:
        return notice("No minute in session is missing", "repair_gaps looks for holes and fills them", "calm")
    rows = [_row(each, now) for each in picture.gaps]
    return table(_COLUMNS, rows, _caption(picture.counts, len(rows)))


def _caption(counts: GapCounts, shown: int) -> str:
    whole = counts.open + counts.unfillable
    part = f"; the first {shown} of {whole:,} are shown" if whole > shown else ""
    return (
        f"{counts.open:,} open with {counts.open_minutes:,} minutes, "
        f"{counts.unfillable:,} that nobody can fill with {counts.unfillable_minutes:,}{part}"
    )


def _row(gap: GapRow, now: datetime) -> list[Any]:
    sign, kind = _SIGNS.get(gap.state, ("?", "waiting"))
    is_over = gap.state == "unfillable" or gap.next_attempt_at is None
    same_day = gap.gap_start.date() == gap.gap_end.date()
    return [
        gap.symbol,
        moment_text(gap.gap_start),
        f"{gap.gap_end:%H:%M}" if same_day else moment_text(gap.gap_end),
        f"{gap.minutes:,}",
        gap.cause,
        html.Span([html.Span(sign, className="sign"), gap.state], className=f"told {kind}"),
        html.Span(gap.reason, className="wide") if gap.reason else "none yet",
        f"{gap.attempts}",
        "none" if is_over or gap.next_attempt_at is None else _next(gap.next_attempt_at, now),
    ]


def _next(moment: datetime, now: datetime) -> str:
    return "due now" if moment <= now else f"{moment_of(moment, now)} UTC"
