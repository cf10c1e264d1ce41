"""Freshness and completeness of each symbol at the chosen run, in words."""

from __future__ import annotations

from typing import Any

from dash import dcc, html

from include.dashboard.components.notice import notice
from include.dashboard.components.table import table
from include.dashboard.formatting import NOT_KNOWN
from include.dashboard.quality_view import Picture
from include.dashboard.quality_words import sign_of
from include.dashboard.selection import QualitySelection
from include.storage.quality_rows import CheckResult


def symbol_measures(picture: Picture, selection: QualitySelection) -> Any:
    """One row a symbol; the symbol chooses itself, or all again."""
    found = {(each.symbol, each.dimension): each for each in picture.measures}
    symbols = sorted({each.symbol for each in picture.measures if each.symbol})
    if selection.symbol:
        symbols = [each for each in symbols if each == selection.symbol]
    if not symbols:
        return notice("No symbol was measured in this run", "the suites symbol_freshness and symbol_completeness do")
    rows = [
        [_link(symbol, selection), *(_words(found.get((symbol, each))) for each in ("freshness", "completeness"))]
        for symbol in symbols
    ]
    return table(("Symbol", "Freshness", "Completeness"), rows, "At the chosen run")


def _link(symbol: str, selection: QualitySelection) -> Any:
    if selection.symbol == symbol:
        return [symbol, " ", dcc.Link("all symbols", href=selection.href(symbol=None), className="way")]
    return dcc.Link(symbol, href=selection.href(symbol=symbol))


def _words(measure: CheckResult | None) -> Any:
    if measure is None:
        return NOT_KNOWN
    state = "passed" if measure.passed else measure.severity
    return html.Div(
        className=f"measure {state}",
        title=f"{state}; expected: {measure.expected}",
        children=[html.Span(sign_of(measure.passed, measure.severity), className="sign"), measure.observed or ""],
    )
