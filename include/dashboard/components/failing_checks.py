"""The failing checks of a run: each opens to why it matters, the symbols that fail it and the keys of its rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dash import dcc, html

from include.dashboard.components.notice import notice
from include.dashboard.components.table import table
from include.dashboard.quality_view import Picture
from include.dashboard.quality_words import sign_of
from include.dashboard.selection import QualitySelection
from include.storage.quality_rows import CheckResult


def failing_checks(picture: Picture, selection: QualitySelection) -> Any:
    """One block a check, critical ones first."""
    failing = [each for each in picture.checks if not each.passed]
    if not picture.results:
        return _nothing(picture)
    if not failing:
        return notice("No check fails", f"all {len(picture.checks)} of this run passed", "calm")
    return [_block(check, _symbols_of(check, picture), selection) for check in failing]


def _nothing(picture: Picture) -> Any:
    if picture.run is None:
        return notice("No results", "there is no run to show")
    if picture.run.finished_at is not None:
        return notice("The results of this run are not in the database", "days older than KEEP_DAYS are in the archive")
    return notice("No results yet", "they are written when a run ends")


def _symbols_of(check: CheckResult, picture: Picture) -> list[CheckResult]:
    return [each for each in picture.measures if each.check_name == check.check_name and not each.passed]


def _block(check: CheckResult, symbols: Sequence[CheckResult], selection: QualitySelection) -> html.Details:
    return html.Details(
        className=f"failing {check.severity}",
        children=[
            html.Summary(
                [
                    html.Span(sign_of(False, check.severity), className="sign"),
                    html.Strong(check.check_name),
                    html.Span(f"{check.severity} · {check.dimension}", className="tag"),
                    html.Span(check.observed or "", className="observed"),
                ]
            ),
            html.P(["Expected: ", check.expected or "", ". ", check.reason or ""], className="why"),
            *([_symbols(symbols, selection)] if symbols else []),
            *([_keys(check)] if check.failing_keys else []),
        ],
    )


def _symbols(symbols: Sequence[CheckResult], selection: QualitySelection) -> html.Ul:
    return html.Ul(
        className="failing-symbols",
        children=[
            html.Li([dcc.Link(each.symbol, href=selection.href(symbol=each.symbol)), f": {each.observed}"])
            for each in symbols
        ],
    )


def _keys(check: CheckResult) -> html.Div:
    shown = len(check.failing_keys)
    names = list(dict.fromkeys(name for key in check.failing_keys for name in key))
    caption = f"Keys of the failing rows, {shown} of {max(check.failing_rows, shown)}"
    return table(names, [[_cell(key.get(name)) for name in names] for key in check.failing_keys], caption)


def _cell(value: Any) -> str:
    return "" if value is None else str(value)
