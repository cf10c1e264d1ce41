"""Fields that the forms of several DAGs have, and what they mean."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from airflow.sdk import Param, RetryAction, RetryRule

from include.market.event import ASSET_CLASSES
from include.settings import settings

AUTOMATIC = "automatic"
#: For every task that reads a form.
REFUSED_FORM = RetryRule(
    exception="include.errors.SettingsError",
    action=RetryAction.FAIL,
    reason="A setting or a name in the form cannot be used; another try would meet it again.",
)


def collected_symbols() -> list[str]:
    """Of all asset classes, as the settings name them."""
    chosen = settings()
    return [symbol for name in ASSET_CLASSES for symbol in getattr(chosen, f"{name}_symbols")]


def symbols_param(examples: Iterable[str], of: str = "collected") -> Param:
    """A choice of symbols; none: all."""
    return Param(
        [],
        type="array",
        items={"type": "string"},
        examples=list(examples),
        title="Symbols",
        description=f"Only these of the {of} ones; none: all.",
    )


def source_param(sources: Iterable[str]) -> Param:
    """One source, or whichever is well."""
    return Param(
        AUTOMATIC,
        type="string",
        enum=[AUTOMATIC, *sources],
        title="Source",
        description="automatic: the preferred one that is well; else only the one named here.",
    )


def chosen_source(params: Mapping[str, Any]) -> str | None:
    """None: whichever is well."""
    return None if params["source"] == AUTOMATIC else str(params["source"])
