"""The only place that makes a graph: no chart may offer to upload itself."""

from __future__ import annotations

from typing import Any

from dash import dcc

_UNUSED_BUTTONS = ["select2d", "lasso2d", "autoScale2d", "resetScale2d", "zoomIn2d", "zoomOut2d"]


def graph(id: str, figure: dict[str, Any], *, is_still: bool = False, **properties: Any) -> dcc.Graph:
    """`properties` go to dcc.Graph as they are. A still graph lets the wheel and the finger scroll the page."""
    config: Any = {
        # On by default in this version: a button that sends the figure to a cloud service.
        "showSendToCloud": False,
        "displaylogo": False,
        "displayModeBar": False if is_still else "hover",
        "modeBarButtonsToRemove": _UNUSED_BUTTONS,
        "scrollZoom": not is_still,
        # assets/market_chart.js leads back to the newest candle.
        "doubleClick": False,
        "responsive": True,
        "toImageButtonOptions": {"filename": "market-chart", "scale": 2},
    }
    return dcc.Graph(id=id, figure=figure, config=config, **{"className": "graph", **properties}, responsive=True)
