"""All results of a run as a grid: failing first, then by suite and dimension; sorted and filtered in the browser."""

from __future__ import annotations

from typing import Any

import dash_ag_grid as dag  # type: ignore[import-untyped]

from include.dashboard.quality_view import Picture
from include.dashboard.quality_words import sign_of, state_of
from include.storage.quality_rows import CheckResult

_COLUMNS: list[dict[str, Any]] = [
    {
        "field": "state",
        "headerName": "State",
        "width": 118,
        "pinned": "left",
        "cellClassRules": {"critical": "params.value == '✕ critical'", "warning": "params.value == '▲ warning'"},
    },
    # Equal neighbours are one tall cell: so they read as groups, however the reader sorts.
    {"field": "suite", "headerName": "Suite", "width": 165, "spanRows": True},
    {"field": "dimension", "headerName": "Dimension", "width": 135, "spanRows": True},
    {"field": "check", "headerName": "Check", "width": 275},
    {"field": "severity", "headerName": "Severity", "width": 105},
    {"field": "observed", "headerName": "Observed", "flex": 2, "minWidth": 210},
    {"field": "expected", "headerName": "Expected", "flex": 2, "minWidth": 190},
    {"field": "reason", "headerName": "Why it matters", "flex": 3, "minWidth": 220},
]
_FITTED = ["state", "suite", "dimension", "check", "severity"]
#: Cells are one line high; the whole text is told by pointing at it.
_WHOLE_TEXT = {"function": "params.value"}


def results_grid() -> dag.AgGrid:
    """Empty; `grid_rows` fills it."""
    return dag.AgGrid(
        id="results",
        className="results-grid",
        columnDefs=_COLUMNS,
        defaultColDef={"sortable": True, "filter": True, "resizable": True, "tooltipValueGetter": _WHOLE_TEXT},
        rowData=[],
        getRowId="params.data.id",
        dashGridOptions={
            "enableCellSpan": True,
            "tooltipShowDelay": 400,
            "rowHeight": 32,
            "headerHeight": 34,
            "suppressColumnVirtualisation": True,
            # In the reader's own font size.
            "autoSizeStrategy": {"type": "fitCellContents", "colIds": _FITTED},
            "localeText": {"noRowsToShow": "No results"},
        },
    )


def grid_rows(picture: Picture) -> list[dict[str, str]]:
    """Plain texts, in the order in which they are shown first."""
    return [_row(each) for each in picture.results]


def _row(result: CheckResult) -> dict[str, str]:
    state = state_of(result.passed, result.severity)
    return {
        "id": f"{result.suite} {result.subject}",
        "state": f"{sign_of(result.passed, result.severity)} {state}",
        "suite": result.suite,
        "dimension": result.dimension,
        "check": result.subject,
        "severity": result.severity,
        "observed": result.observed or "",
        "expected": result.expected or "",
        "reason": result.reason or "",
    }
