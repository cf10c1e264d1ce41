"""What the chart says when it has nothing, or nothing new, to show."""

from __future__ import annotations

from dash import html


def notice(title: str, detail: str, kind: str = "waiting") -> html.Div:
    """`kind`: waiting (will pass by itself) or trouble (somebody must look)."""
    return html.Div(className=f"notice {kind}", children=[html.Strong(title), html.Span(detail)])
