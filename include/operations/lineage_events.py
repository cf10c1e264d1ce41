"""OpenLineage events as JSON documents (https://openlineage.io/spec, 2-0-2). Pure.

By hand and not by the client: it takes 0.9 s of processor time to load, which would be paid in every short task.
A test holds each facet equal to the client's class.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from include.errors import MarketDataError
from include.settings import Settings, required

if TYPE_CHECKING:
    # It brings the database's driver, which most tasks have no need of.
    from include.storage.quality_store import Result

Kind = Literal["START", "RUNNING", "COMPLETE", "FAIL", "ABORT"]
Document = dict[str, Any]

PRODUCER = "urn:market-data-platform"
_EVENT = "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent"
#: Facets of the standard by the version of their schema; the others are ours.
_FACETS = {
    "nominalTime": "1-0-1/NominalTimeRunFacet",
    "parent": "1-2-0/ParentRunFacet",
    "processing_engine": "1-1-1/ProcessingEngineRunFacet",
    "errorMessage": "1-0-1/ErrorMessageRunFacet",
    "jobType": "2-0-4/JobTypeJobFacet",
    "dataQualityAssertions": "1-1-0/DataQualityAssertionsDatasetFacet",
}
#: What each suite looks at.
SUITE_TABLES = {"symbol_freshness": "market_events", "symbol_completeness": "candles"}
_SEVERITIES = {"critical": "error", "warning": "warn", "info": "warn"}
_LONGEST_REASON = 500


@dataclass(frozen=True, slots=True)
class Places:
    """Namespaces: of our jobs, of Kafka's topics, of PostgreSQL's tables. No login is in any."""

    jobs: str
    kafka: str
    postgres: str
    database: str

    @classmethod
    def of(cls, chosen: Settings) -> Places:
        """Raises SettingsError without a running stack."""
        server = required(chosen.kafka_bootstrap_servers, "KAFKA_BOOTSTRAP_SERVERS").split(",")[0]
        url = chosen.reader_database_url or chosen.writer_database_url or chosen.database_url
        parts = urlsplit(required(url, "DATABASE_URL"))
        return cls(
            jobs=f"market-data.{chosen.state_dir.name}",
            kafka=f"kafka://{server.strip()}",
            postgres=f"postgres://{parts.hostname}:{parts.port or 5432}",
            database=parts.path.strip("/"),
        )

    def topic(self, name: str, /, **facets: Document) -> Document:
        return {"namespace": self.kafka, "name": name, "facets": facets}

    def table(self, name: str) -> Document:
        return {"namespace": self.postgres, "name": f"{self.database}.market.{name}", "facets": {}}


def facet(name: str, /, **fields: Any) -> Document:
    """A facet's document; fields that are None are left out."""
    known = _FACETS.get(name)
    schema = (
        f"https://openlineage.io/spec/facets/{known}.json#/$defs/{known.partition('/')[2]}"
        if known
        else f"{PRODUCER}:facet:{name}:1"
    )
    held = {key: value for key, value in fields.items() if value is not None}
    return {"_producer": PRODUCER, "_schemaURL": schema, **held}


def run_id_of(*parts: object) -> str:
    """The same run always has the same id, whoever asks."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"{PRODUCER}:{'/'.join(map(str, parts))}"))


def run_event(
    kind: Kind,
    at: datetime,
    places: Places,
    job: str,
    run_id: str,
    *,
    job_type: tuple[str, str, str],
    run: Mapping[str, Document] | None = None,
    inputs: Sequence[Document] = (),
    outputs: Sequence[Document] = (),
) -> Document:
    """One event. `job_type`: BATCH or STREAMING, what runs it, and what it is (DAG, TASK, JOB)."""
    processing, integration, sort = job_type
    described = facet("jobType", processingType=processing, integration=integration, jobType=sort)
    return {
        "eventType": kind,
        "eventTime": at.astimezone(UTC).isoformat(),
        "run": {"runId": run_id, "facets": dict(run or {})},
        "job": {"namespace": places.jobs, "name": job, "facets": {"jobType": described}},
        "inputs": list(inputs),
        "outputs": list(outputs),
        "producer": PRODUCER,
        "schemaURL": _EVENT,
    }


def parent(places: Places, job: str, run_id: str) -> Document:
    return facet("parent", run={"runId": run_id}, job={"namespace": places.jobs, "name": job})


def failure_facet(reason: str) -> Document:
    """Its first line: traces and what follows may quote rows."""
    line = (reason.strip().splitlines() or ["no reason given"])[0]
    return facet("errorMessage", message=line[:_LONGEST_REASON], programmingLanguage="PYTHON")


def task_job(dag_id: str, task_id: str) -> str:
    return f"{dag_id}.{task_id}"


def quality_event(
    places: Places,
    at: datetime,
    dag_run_id: str | None,
    run_id: str,
    covered: tuple[datetime, datetime],
    code_version: str,
    results: Iterable[Result] = (),
    failure: Exception | None = None,
) -> Document:
    """A run of the checks: FAIL where a critical one fails or nothing could be checked, else COMPLETE.

    The checks, not the symbols' measures, are assertions of the table that their suite looks at.
    """
    tables: dict[str, list[Document]] = {}
    is_bad = failure is not None
    for each in results:
        if each.symbol is None:
            is_bad |= not each.passed and each.severity == "critical"
            tables.setdefault(SUITE_TABLES.get(each.suite, each.suite), []).append(_assertion(each))
    facets = {
        "nominalTime": facet(
            "nominalTime", nominalStartTime=covered[0].isoformat(), nominalEndTime=covered[1].isoformat()
        ),
        "marketData_code": facet("marketData_code", version=code_version),
    }
    if dag_run_id is not None:
        job = "check_data_quality"
        facets["parent"] = parent(places, job, run_id_of(places.jobs, job, dag_run_id))
    if failure is not None:
        known = isinstance(failure, MarketDataError)
        facets["errorMessage"] = failure_facet(str(failure) if known else type(failure).__name__)
    inputs = []
    for table, assertions in tables.items():
        asserted = {"dataQualityAssertions": facet("dataQualityAssertions", assertions=assertions)}
        inputs.append({**places.table(table), "inputFacets": asserted})
    return run_event(
        "FAIL" if is_bad else "COMPLETE",
        at,
        places,
        "data_quality",
        run_id_of(places.jobs, "data_quality", run_id, at.isoformat()),
        job_type=("BATCH", "GREAT_EXPECTATIONS", "JOB"),
        run=facets,
        inputs=inputs,
    )


def _assertion(result: Result) -> Document:
    return {
        "assertion": result.dimension,
        "name": result.check_name,
        "success": result.passed,
        "severity": _SEVERITIES[result.severity],
        "expected": result.expected,
        "actual": result.observed,
        "description": result.reason,
    }
