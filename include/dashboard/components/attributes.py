"""Attributes whose names have a hyphen, which Dash takes only as a dictionary."""

from __future__ import annotations

from typing import Any


def aria(**values: str) -> dict[str, Any]:
    """`aria(label="Chart")` is `{"aria-label": "Chart"}`."""
    return {f"aria-{name}": value for name, value in values.items()}


def data(**values: str) -> dict[str, Any]:
    """`data(symbol="AAPL")` is `{"data-symbol": "AAPL"}`."""
    return {f"data-{name}": value for name, value in values.items()}
