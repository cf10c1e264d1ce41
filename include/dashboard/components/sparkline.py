"""The course of a price in one line of text height."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from decimal import Decimal

from dash import html

from include.dashboard.components.attributes import aria

WIDTH, HEIGHT = 72, 22
_MARGIN = 2


def sparkline(closes: Sequence[Decimal]) -> html.Span:
    """`closes` oldest first; fewer than two give an empty place of the same size."""
    if len(closes) < 2:
        return html.Span(className="spark")
    # The drawing is a mask, so its colour follows the page's scheme.
    mask = f"url(data:image/svg+xml;base64,{b64encode(drawing(closes).encode()).decode()})"
    return html.Span(
        className="spark drawn",
        style={"maskImage": mask, "WebkitMaskImage": mask},
        **aria(hidden="true"),
    )


def drawing(closes: Sequence[Decimal]) -> str:
    """SVG of the line, lowest close at the bottom, highest at the top."""
    low, high = min(closes), max(closes)
    spread = float(high - low) or 1.0
    step = (WIDTH - 2 * _MARGIN) / (len(closes) - 1)
    rise = (HEIGHT - 2 * _MARGIN) / spread
    points = " ".join(
        f"{_MARGIN + place * step:.1f},{HEIGHT - _MARGIN - float(close - low) * rise:.1f}"
        for place, close in enumerate(closes)
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" preserveAspectRatio="none">'
        f'<polyline points="{points}" fill="none" stroke="#000" stroke-width="1.5" stroke-linejoin="round"/>'
        "</svg>"
    )
