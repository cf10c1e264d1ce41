"""The list of alerts: what happened, how bad it is, the way to its bar, and a button to say that it was seen."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from dash import dcc, html

from include.dashboard.components.attributes import aria, data
from include.dashboard.components.notice import notice
from include.dashboard.formatting import age_text, moment_text
from include.dashboard.selection import QUALITY_PATH, Selection
from include.dashboard.words import notice_words
from include.market.timeframe import TIMEFRAME_SECONDS
from include.storage.alert_reads import Notice

#: Candles on either side of the one that an alert leads to.
AROUND = 60
_SIGNS = {"warning": "◇", "high": "▲", "critical": "✖"}
BUTTON = "acknowledge"


def alerts_list(notices: Sequence[Notice], now: datetime, symbols: Sequence[str]) -> Any:
    """Newest first. Only of collected symbols there is a chart to lead to."""
    if not notices:
        return notice("Nothing to report", "no anomaly and no failed check within a day")
    return html.Ul([_row(each, now, symbols) for each in notices], className="alerts")


def _row(each: Notice, now: datetime, symbols: Sequence[str]) -> html.Li:
    title, detail = notice_words(each)
    is_over = each.acknowledged_at is not None or each.resolved_at is not None
    state = "resolved" if each.resolved_at else "seen" if each.acknowledged_at else ""
    words = [
        html.Strong([html.Span(_SIGNS.get(each.severity, "◇"), className="sign", **aria(hidden="true")), title]),
        html.Span(detail, className="detail"),
    ]
    return html.Li(
        className=f"alert {each.severity}" + (" over" if is_over else ""),
        key=key_of(each),
        **data(key=key_of(each)),
        children=[
            _way(each, words, symbols),
            html.Span(
                [
                    html.Span(age_text((now - each.at).total_seconds()), title=f"{moment_text(each.at)} UTC"),
                    html.Span(state or each.severity, className="state"),
                ],
                className="when",
            ),
            html.Button(
                "✓",
                id={"type": BUTTON, "key": key_of(each)},
                className="seen",
                type="button",
                title="Acknowledge",
                disabled=each.acknowledged_at is not None,
                **aria(label=f"Acknowledge: {title}"),
            ),
        ],
    )


def _way(each: Notice, words: list[Any], symbols: Sequence[str]) -> Any:
    if (
        each.symbol is not None
        and each.symbol in symbols
        and each.window_start is not None
        and each.interval is not None
    ):
        width = timedelta(seconds=TIMEFRAME_SECONDS[each.interval])
        bar = Selection(
            each.symbol,
            each.interval,
            start=each.window_start - AROUND * width,
            end=each.window_start + AROUND * width,
        )
        return dcc.Link(words, href=bar.href(), className="what", title="Show this bar")
    if each.kind == "quality":
        return html.A(words, href=QUALITY_PATH, className="what", title="Show the checks")
    return html.Span(words, className="what")


def key_of(each: Notice) -> str:
    """Names the notice; `parsed_key` reads it back."""
    if each.kind != "anomaly" or each.window_start is None:
        return f"alert {each.id}"
    return f"anomaly {each.symbol} {each.interval} {each.window_start.isoformat()} {each.metric}"


def parsed_key(key: str) -> tuple[str, ...] | int | None:
    """(symbol, interval, window_start, metric) of an anomaly, the id of another alert; None for what is no key."""
    kind, *parts = key.split(" ")
    if kind == "alert" and len(parts) == 1 and parts[0].isdecimal() and len(parts[0]) < 19:
        return int(parts[0])
    return tuple(parts) if kind == "anomaly" and len(parts) == 4 else None
