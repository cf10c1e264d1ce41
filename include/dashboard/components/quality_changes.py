"""What is otherwise than a day before."""

from __future__ import annotations

from typing import Any

from dash import html

from include.dashboard.components.notice import notice
from include.dashboard.formatting import moment_text
from include.dashboard.quality_view import Picture
from include.dashboard.quality_words import sign_of
from include.storage.quality_rows import Change


def quality_changes(picture: Picture) -> Any:
    """Checks, and measures of symbols, that fail now and passed then, then the other way round."""
    before = picture.before
    if before is None:
        return notice("Nothing to compare with", "no run of the same suites and symbols about a day before")
    compared = html.P(f"Compared with the run of {moment_text(before.started_at)} UTC", className="hint")
    if not picture.changes:
        return [compared, notice("Nothing changed", "every check ended as it did a day before", "calm")]
    # What the symbols of a check say, the check need not say again.
    told = {each.check_name for each in picture.changes if each.symbol is not None}
    shown = [each for each in picture.changes if each.symbol is not None or each.check_name not in told]
    return [compared, html.Ul([_row(each) for each in shown], className="changes", tabIndex="0")]


def _row(change: Change) -> html.Li:
    about = change.check_name if change.symbol is None else f"{change.check_name} of {change.symbol}"
    turned = "passes again" if change.passed else "fails now"
    return html.Li(
        className="passed" if change.passed else change.severity,
        children=[
            html.Span(sign_of(change.passed, change.severity), className="sign"),
            html.Div(
                [
                    html.Strong(about),
                    html.Span(f" {turned}", className="tag"),
                    html.P(f"Now: {change.observed_now}"),
                    html.P(f"Then: {change.observed_before}"),
                ]
            ),
        ],
    )
