"""A figure under a line that says how to read it."""

from __future__ import annotations

from typing import Any

from dash import html


def titled(caption: str, body: Any) -> html.Figure:
    return html.Figure([html.Figcaption(caption), body], className="titled")
