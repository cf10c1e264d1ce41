"""A plain table that scrolls by itself where it is wider than its place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dash import html


def table(columns: Sequence[str], rows: Sequence[Sequence[Any]], caption: str) -> html.Div:
    """Cells are text or components; the first of each row is its head."""
    head = html.Thead(html.Tr([html.Th(name, scope="col") for name in columns]))
    body = html.Tbody([html.Tr([_cell(cell, place) for place, cell in enumerate(row)]) for row in rows])
    # A place that scrolls must be reachable by keyboard.
    return html.Div(html.Table([html.Caption(caption), head, body]), className="table", tabIndex="0")


def _cell(cell: Any, place: int) -> Any:
    return html.Th(cell, scope="row") if place == 0 else html.Td(cell)
