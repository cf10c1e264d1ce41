"""The measures of each symbol, from the warehouse's own functions to rows of results. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from include.quality.suites import Check, Suite
from include.storage.quality_store import Result

Row = Mapping[str, Any]


def symbol_results(suite: Suite, check: Check, rows: Sequence[Row]) -> list[Result]:
    """One result a symbol, for the series on the quality page. `rows` are those of the suite's own query."""
    put = _WORDS[check.measure or ""]
    return [
        Result(
            suite=suite.name,
            check_name=check.name,
            dimension=check.dimension,
            severity=check.severity,
            passed=row["passed"],
            reason=check.reason,
            symbol=row["symbol"],
            **put(row),
        )
        for row in rows
    ]


def _freshness(row: Row) -> dict[str, Any]:
    last: datetime | None = row["last_at"]
    said = "no event yet" if last is None else f"last event {last:%Y-%m-%d %H:%M:%S}"
    return {
        "observed": f"{said}, {span(row['age_seconds'])} of trading ago{'' if row['is_open'] else ' (closed now)'}",
        "expected": f"at most {span(row['limit_seconds'])} while its market is open",
        "measured": row["age_seconds"],
    }


def _completeness(row: Row) -> dict[str, Any]:
    expected, present, missing = row["expected_minutes"], row["present_minutes"], row["missing_minutes"]
    return {
        "observed": f"{present} of {expected} minutes, longest hole {span(row['longest_hole_seconds'])}"
        + (f", {missing} missing" if missing else ""),
        "expected": f"no hole over {span(row['limit_seconds'])} in its sessions",
        "measured": 1.0 if expected == 0 else 1.0 - min(missing, expected) / expected,
    }


def span(seconds: float) -> str:
    """A length of time for a person: 45 s, 4 min, 2 h 5 min."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"


_WORDS: dict[str, Callable[[Row], dict[str, Any]]] = {"freshness": _freshness, "completeness": _completeness}
