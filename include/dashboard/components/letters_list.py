"""Dead letters: what was refused and why, one of them opened, and the verdict on those chosen for a replay."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

import dash_mantine_components as dmc  # type: ignore[import-untyped]
from dash import dcc, html

from include.dashboard.components.attributes import aria
from include.dashboard.components.notice import notice
from include.dashboard.components.records_list import value_text
from include.dashboard.components.table import table
from include.dashboard.operations_selection import OperationsSelection
from include.dashboard.operations_view import LETTERS_SHOWN, Judged, Letter
from include.dashboard.operations_words import moment_of
from include.dashboard.quality_words import FAILED, PASSED, WARNED

CHOICE = "letter-choice"
_COLUMNS = ("Refused", "Source", "Symbol", "Asked for", "Reason", "Outcome")


def letters_table(
    letters: Sequence[Letter],
    chosen: Collection[str],
    selection: OperationsSelection,
    now: datetime,
    *,
    can_replay: bool,
) -> Any:
    """Newest first; those that can be replayed have a box each."""
    if not letters:
        return notice("No dead letter", "all that came could be read, or Kafka has let the refused go", "calm")
    columns = (_COLUMNS[0], "Replay", *_COLUMNS[1:]) if can_replay else _COLUMNS
    rows = [_row(each, each.id in chosen, selection, now, can_replay) for each in letters]
    return table(columns, rows, f"The newest {len(rows)}, {LETTERS_SHOWN} at most; a time opens its letter")


def letter_opened(letter: Letter, selection: OperationsSelection) -> Any:
    """All that came, as text."""
    text, remark = value_text(letter.raw)
    cut = (
        ""
        if letter.raw_bytes <= len(letter.raw)
        else f"only {len(letter.raw):,} of {letter.raw_bytes:,} bytes were kept"
    )
    head = [
        html.Strong(letter.id, className="key"),
        html.Span(letter.reason),
        *(html.Span(each, className="warning") for each in (remark, cut) if each),
        dcc.Link("Close", href=selection.href(letter=None), className="way"),
    ]
    return html.Article(
        [
            html.P(head, className="record-head"),
            html.Pre(
                text or "nothing came",
                className="value",
                tabIndex="0",
                role="region",
                **aria(label=f"Body of {letter.id}"),
            ),
        ],
        className="letter",
        **aria(label="Dead letter"),
    )


def verdict(outcomes: Sequence[Judged], *, is_dry: bool) -> Any:
    """What a replay would do, or did."""
    events = sum(each.events for each in outcomes)
    counted = f"{events:,} event{'' if events == 1 else 's'}"
    told = f"Would publish {counted}" if is_dry else f"Published {counted}"
    rows = [
        [each.letter.id, each.letter.source or "none", each.letter.symbol or "none", each.words] for each in outcomes
    ]
    count = f"{len(outcomes)} dead letter{'' if len(outcomes) == 1 else 's'} judged by today's rules"
    sign = PASSED if events else WARNED
    return [
        html.P(
            [html.Span(sign, className="sign"), html.Strong(told)], className="told good" if events else "told warn"
        ),
        table(("Letter", "Source", "Symbol", "Verdict"), rows, count),
    ]


def refused(title: str, reason: str) -> Any:
    return html.P([html.Span(FAILED, className="sign"), html.Strong(title), f" {reason}"], className="told bad")


def _row(letter: Letter, is_chosen: bool, selection: OperationsSelection, now: datetime, can_replay: bool) -> list[Any]:
    opened = {"current": "true"} if letter.id == selection.letter else {}
    link = dcc.Link(f"{moment_of(letter.at, now)} UTC", href=selection.href(letter=letter.id))
    box = dmc.Checkbox(
        id={"type": CHOICE, "letter": letter.id}, checked=is_chosen, size="sm", **aria(label=f"Choose {letter.id}")
    )
    return [
        html.Span(link, title=letter.id, className="chosen" if opened else "", **aria(**opened)),
        *([box] if can_replay else []),
        letter.source or "none",
        letter.symbol or "none",
        letter.asked_for or "not said",
        html.Span(letter.reason, className="wide"),
        letter.outcome or "not replayed",
    ]
