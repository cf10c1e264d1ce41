"""The suites and the checkpoint of `great_expectations/`, as they stand in the files. Pure but for reading them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any, Literal, cast, get_args

from psycopg.sql import Literal as Value

from include.errors import SettingsError
from include.settings import PROJECT_ROOT

FOLDER = PROJECT_ROOT / "great_expectations"
Dimension = Literal["schema", "duplicates", "freshness", "completeness", "validity", "reconciliation"]
Severity = Literal["critical", "warning", "info"]

_PLACE = re.compile(r"(?<![:\w]):(since|until|symbols|limit)\b")


@dataclass(frozen=True, slots=True)
class Scope:
    """What a run looks at: times in UTC, `symbols` None for all, `limit_seconds` the least limit of freshness."""

    since: datetime
    until: datetime
    symbols: tuple[str, ...] | None = None
    limit_seconds: int = 300

    def bind(self, sql: str) -> str:
        """`:since`, `:until`, `:symbols`, `:limit` replaced by literals. A colon inside quotes is left alone."""
        listed = "NULL::text[]"
        if self.symbols is not None:
            listed = f"ARRAY[{', '.join(_literal(symbol) for symbol in self.symbols)}]::text[]"
        values = {
            "since": f"{_literal(self.since.isoformat())}::timestamptz",
            "until": f"{_literal(self.until.isoformat())}::timestamptz",
            "symbols": listed,
            "limit": str(self.limit_seconds),
        }
        return _PLACE.sub(lambda found: values[found[1]], sql)


@dataclass(frozen=True, slots=True)
class Check:
    """One expectation. `keys_query` gives the keys of the rows that fail it, over `{batch}`; None where it has no rows.

    `quarantine`: rows that fail are held. `measure`: the per-symbol measure that it judges.
    """

    name: str
    dimension: Dimension
    severity: Severity
    reason: str
    expected: str
    type: str
    kwargs: Mapping[str, Any]
    keys_query: str | None = None
    quarantine: bool = False
    measure: str | None = None


@dataclass(frozen=True, slots=True)
class Suite:
    """Checks of one relation: those of dimension schema look at `table`, the others at the rows of `rows`."""

    name: str
    about: str
    checks: tuple[Check, ...]
    rows: str
    table: str | None = None

    def of_table(self) -> list[Check]:
        return [check for check in self.checks if check.dimension == "schema"]

    def of_rows(self) -> list[Check]:
        return [check for check in self.checks if check.dimension != "schema"]


@cache
def load_suites(folder: Path = FOLDER) -> tuple[Suite, ...]:
    """Every suite that the checkpoint validates, in its order.

    Raises SettingsError naming the file and what is wrong in it.
    """
    checkpoint = _read(folder / "checkpoints" / "market_data.json")
    suites = []
    for validation in checkpoint["validations"]:
        file = folder / "expectations" / f"{validation['suite']}.json"
        document = _read(file)
        checks = tuple(_check(file, entry) for entry in document["expectations"])
        suites.append(
            Suite(document["name"], document["meta"]["about"], checks, validation["rows"], validation.get("table"))
        )
    names = [check.name for suite in suites for check in suite.checks]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise SettingsError(f"great_expectations: two checks have one name: {', '.join(sorted(twice))}")
    return tuple(suites)


def select(names: Sequence[str]) -> tuple[Suite, ...]:
    """The suites of these names; none: all. Raises SettingsError for one that is not there."""
    suites = load_suites()
    known = {suite.name for suite in suites}
    for name in names:
        if name not in known:
            raise SettingsError(f"there is no suite {name}; there are {', '.join(sorted(known))}")
    return tuple(suite for suite in suites if not names or suite.name in names)


def _check(file: Path, entry: Mapping[str, Any]) -> Check:
    meta = entry.get("meta", {})
    missing = {"check", "dimension", "reason"} - meta.keys()
    if missing:
        raise SettingsError(f"{file.name}: an expectation {entry.get('type')} has no {', '.join(sorted(missing))}")
    if meta["dimension"] not in get_args(Dimension) or entry.get("severity") not in get_args(Severity):
        raise SettingsError(f"{file.name}: {meta['check']} needs a dimension and a severity that exist")
    kwargs = entry["kwargs"]
    return Check(
        name=meta["check"],
        dimension=cast("Dimension", meta["dimension"]),
        severity=cast("Severity", entry["severity"]),
        reason=meta["reason"],
        expected=meta.get("expected") or _expected(kwargs),
        type=entry["type"],
        kwargs=kwargs,
        keys_query=meta.get("keys_query") or kwargs.get("unexpected_rows_query"),
        quarantine=meta.get("quarantine", False),
        measure=meta.get("measure"),
    )


def _expected(kwargs: Mapping[str, Any]) -> str:
    return str(kwargs["type_"]) if "type_" in kwargs else ", ".join(kwargs.get("column_set", []))


def _read(file: Path) -> dict[str, Any]:
    try:
        return cast("dict[str, Any]", json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise SettingsError(f"{file.relative_to(file.parents[2])} cannot be read: {error}") from error


def _literal(value: str) -> str:
    return Value(value).as_string(None)
