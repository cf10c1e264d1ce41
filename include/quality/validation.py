"""Suites validated by Great Expectations on the warehouse. Importing it takes seconds: only a run does."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import great_expectations as gx
from great_expectations.core.run_identifier import RunIdentifier
from great_expectations.data_context.types.base import (
    DataContextConfig,
    InMemoryStoreBackendDefaults,
    ProgressBarsConfig,
)
from great_expectations.data_context.types.resource_identifiers import ExpectationSuiteIdentifier
from great_expectations.expectations.expectation_configuration import ExpectationConfiguration
from great_expectations.expectations.metadata_types import FailureSeverity

from include.quality.data_docs import SITE, VALIDATIONS
from include.quality.suites import FOLDER, Check, Scope, Suite
from include.storage.migrate import sqlalchemy_url

#: A check that takes longer than this is broken off and fails as one that could not be run.
STATEMENT_SECONDS = 120
_PAGE = {"module_name": "include.quality.page_view", "class_name": "OfflinePage"}
# BASIC counts the failing rows and shows none of them; the keys are read by ourselves.
_FORMAT = {"result_format": "BASIC", "partial_unexpected_count": 0}


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one check found. `observed` is in words; `failing_rows` 0 where the check has no rows."""

    suite: str
    check: Check
    passed: bool
    observed: str
    failing_rows: int = 0


class Validator:
    """Great Expectations with its results and Data Docs under `folder`; nothing of it is in the project."""

    def __init__(self, folder: Path, database_url: str) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._context = gx.get_context(mode="ephemeral", project_config=_configuration(folder))
        options = f"-c statement_timeout={STATEMENT_SECONDS * 1000} -c timezone=UTC -c jit=off"
        self._source: Any = self._context.data_sources.add_postgres(  # type: ignore[call-arg] # stubs lack kwargs
            "market",
            connection_string=sqlalchemy_url(database_url),
            # A temporary table would copy every row of the window once more.
            create_temp_table=False,
            kwargs={"connect_args": {"options": options, "application_name": "quality"}},
        )

    def run(self, suites: Iterable[Suite], scope: Scope, run_name: str) -> list[Verdict]:
        """One checkpoint over all suites; its results are stored under `run_name`, and Data Docs rebuilt once."""
        # It prints a hint at each check that compares tables with each other instead of reading its batch.
        with redirect_stdout(StringIO()):
            definitions = dict(self._definitions(suites, scope))
            checkpoint = self._context.checkpoints.add(
                gx.Checkpoint(
                    name=run_name,
                    validation_definitions=[self._context.validation_definitions.get(name) for name in definitions],
                    result_format=_FORMAT,
                )
            )
            found = checkpoint.run(run_id=RunIdentifier(run_name=run_name, run_time=scope.until))
            suites_shown: list[Any] = [ExpectationSuiteIdentifier(name=name) for name in definitions]
            self._context.build_data_docs(resource_identifiers=[*found.run_results, *suites_shown])
        verdicts: list[Verdict] = []
        for result in found.run_results.values():
            suite = definitions[result.suite_name]
            by_name = {check.name: check for check in suite.checks}
            verdicts += [_verdict(suite.name, by_name, each) for each in result.results]
        return verdicts

    def _definitions(self, suites: Iterable[Suite], scope: Scope) -> Iterator[tuple[str, Suite]]:
        for suite in suites:
            if suite.of_table():
                asset = self._source.add_table_asset(
                    f"{suite.name} table", table_name=suite.table, schema_name="market"
                )
                yield self._define(f"{suite.name}.schema", asset, suite.of_table(), scope), suite
            if suite.of_rows():
                asset = self._source.add_query_asset(f"{suite.name} rows", query=scope.bind(suite.rows))
                yield self._define(f"{suite.name}.rows", asset, suite.of_rows(), scope), suite

    def _define(self, name: str, asset: Any, checks: Sequence[Check], scope: Scope) -> str:
        suite = self._context.suites.add(
            gx.ExpectationSuite(name=name, expectations=[_configuration_of(check, scope) for check in checks])
        )
        self._context.validation_definitions.add(
            gx.ValidationDefinition(name=name, data=asset.add_batch_definition_whole_table("whole"), suite=suite)
        )
        return name


def _configuration_of(check: Check, scope: Scope) -> ExpectationConfiguration:
    kwargs = {
        name: scope.bind(value) if name == "unexpected_rows_query" else value for name, value in check.kwargs.items()
    }
    meta = {"check": check.name, "dimension": check.dimension, "notes": check.reason}
    words = f"{check.name}: {check.expected}. {check.reason}"
    return ExpectationConfiguration(
        type=check.type, kwargs=kwargs, meta=meta, severity=FailureSeverity(check.severity), description=words
    )


def _verdict(suite: str, by_name: dict[str, Check], result: Any) -> Verdict:
    check = by_name[result.expectation_config.meta["check"]]
    if result.success:
        return Verdict(suite, check, True, _seen(check, result.result) or "as expected")
    failure = _failure(result.exception_info)
    if failure is not None:
        return Verdict(suite, check, False, f"could not be checked: {failure}")
    rows = _failing_rows(check, result.result)
    return Verdict(suite, check, False, _seen(check, result.result) or f"{rows} rows fail", rows)


def _seen(check: Check, result: dict[str, Any]) -> str:
    """What was seen, in words; empty where it is rows, of which only the number is told."""
    mismatched = result.get("details", {}).get("mismatched", {})
    if mismatched:
        parts = [
            f"{word} {', '.join(sorted(mismatched[kind]))}"
            for kind, word in (("missing", "missing"), ("unexpected", "not expected"))
            if mismatched.get(kind)
        ]
        return "; ".join(parts)
    seen = result.get("observed_value")
    return seen if isinstance(seen, str) and check.type == "expect_column_type_to_be" else ""


def _failing_rows(check: Check, result: dict[str, Any]) -> int:
    if check.type == "unexpected_rows_expectation":
        return int(result.get("observed_value") or 0)
    return int(result.get("unexpected_count") or 0)


def _failure(info: Any) -> str | None:
    """The first line of what was raised; None if nothing was."""
    if not isinstance(info, dict):
        return None
    parts = [info] if "raised_exception" in info else list(info.values())
    for part in parts:
        if part.get("raised_exception"):
            said = str(part.get("exception_message") or "no reason given")
            return said.strip().splitlines()[0][:300]
    return None


def _configuration(folder: Path) -> DataContextConfig:
    """Suites in memory, for the files of the project are the truth; results and site in the folder."""
    defaults = InMemoryStoreBackendDefaults()
    defaults.stores[defaults.validation_results_store_name] = {
        "class_name": "ValidationResultsStore",
        "store_backend": {
            "class_name": "TupleFilesystemStoreBackend",
            "base_directory": str(folder / VALIDATIONS),
        },
    }
    defaults.data_docs_sites = {
        SITE: {
            "class_name": "SiteBuilder",
            "show_how_to_buttons": False,
            "store_backend": {
                "class_name": "TupleFilesystemStoreBackend",
                "base_directory": str(folder / SITE),
            },
            "site_index_builder": {
                "class_name": "DefaultSiteIndexBuilder",
                "show_cta_footer": False,
                "view": {"module_name": "include.quality.page_view", "class_name": "OfflineIndex"},
            },
            "site_section_builders": {
                "validations": {
                    "class_name": "DefaultSiteSectionBuilder",
                    "source_store_name": defaults.validation_results_store_name,
                    "renderer": {
                        "module_name": "great_expectations.render.renderer.page_renderer",
                        "class_name": "ValidationResultsPageRenderer",
                    },
                    "view": _PAGE,
                },
                "expectations": {
                    "class_name": "DefaultSiteSectionBuilder",
                    "source_store_name": defaults.expectations_store_name,
                    "renderer": {
                        "module_name": "great_expectations.render.renderer.page_renderer",
                        "class_name": "ExpectationSuitePageRenderer",
                    },
                    "view": _PAGE,
                },
            },
        }
    }
    return DataContextConfig(
        store_backend_defaults=defaults,
        plugins_directory=str(FOLDER / "plugins"),
        progress_bars=ProgressBarsConfig(globally=False),
        analytics_enabled=False,
    )
