"""What a panel says when its source has not answered yet, does not answer, or did not answer this time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from dash import html

from include.dashboard.components.notice import notice
from include.dashboard.operations_words import stale_words
from include.dashboard.remembered import Known

Value = TypeVar("Value")


def panel(known: Known[Value], draw: Callable[[Value], Any], title: str) -> Any:
    """What `draw` makes of the last good answer, under a line that says so if it is an old one.

    `title` is said where there is no answer at all, as in "Kafka does not answer"."""
    if known.value is None:
        if known.failure is None:
            return notice("Loading", "one moment")
        return notice(title, f"{known.failure}; trying again", "trouble")
    said = stale_words(known)
    drawn = draw(known.value)
    return [html.P(said, className="remark", role="status"), drawn] if said else drawn
