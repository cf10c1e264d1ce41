"""A part of a page under a heading of its own."""

from __future__ import annotations

from typing import Any

from dash import html

from include.dashboard.components.attributes import aria


def section(title: str, hint: str, body: Any, name: str) -> html.Section:
    """`name` is the section's class, by which the style sheets place it."""
    return html.Section(
        className=f"panel {name}",
        **aria(labelledby=f"{name}-title"),
        children=[html.H2([title, html.Span(hint, className="hint")], id=f"{name}-title"), body],
    )
