"""The buttons above the chart that lay indicators and marks over it, and take it along as a file."""

from __future__ import annotations

from typing import Any

from dash import dcc, html

from include.dashboard.charts.overlays import LAYER_WORDS
from include.dashboard.components.attributes import aria, data
from include.dashboard.selection import LAYERS, Layer, Selection


def layer_bar(selection: Selection) -> list[Any]:
    return [
        html.Nav(
            [_layer(each, selection) for each in LAYERS], className="layers", **aria(label="Indicators and marks")
        ),
    ]


def _layer(layer: Layer, selection: Selection) -> html.Span:
    label, explanation = LAYER_WORDS[layer]
    is_shown = layer in selection.layers
    link = dcc.Link(label, href=selection.toggled(layer), className="layer", title=explanation)
    marks = aria(current="true") if is_shown else {}
    return html.Span(link, className="chosen" if is_shown else "", **marks, **data(layer=layer))
