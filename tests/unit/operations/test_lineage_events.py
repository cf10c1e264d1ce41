"""Lineage events against OpenLineage's own client: the same names, the same schemas, no secret."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from openlineage.client.event_v2 import Dataset, InputDataset, Job, OutputDataset, Run, RunEvent, RunState
from openlineage.client.facet_v2 import (
    BaseFacet,
    data_quality_assertions_dataset,
    error_message_run,
    job_type_job,
    nominal_time_run,
    parent_run,
    processing_engine_run,
)
from openlineage.client.serde import Serde

from include.errors import SettingsError
from include.operations.lineage_events import (
    Places,
    facet,
    failure_facet,
    parent,
    quality_event,
    run_event,
    run_id_of,
)
from include.settings import Settings
from include.storage.quality_store import Result

AT = datetime(2026, 3, 2, 14, 0, tzinfo=UTC)
PLACES = Places("market-data.sandbox", "kafka://127.0.0.1:29092", "postgres://127.0.0.1:25432", "financial_data")
STANDARD = {
    "nominalTime": nominal_time_run.NominalTimeRunFacet,
    "parent": parent_run.ParentRunFacet,
    "processing_engine": processing_engine_run.ProcessingEngineRunFacet,
    "errorMessage": error_message_run.ErrorMessageRunFacet,
    "jobType": job_type_job.JobTypeJobFacet,
    "dataQualityAssertions": data_quality_assertions_dataset.DataQualityAssertionsDatasetFacet,
}


def test_of_every_facet_of_the_standard_names_and_schema_are_the_clients() -> None:
    used: dict[str, dict[str, Any]] = {
        "nominalTime": facet("nominalTime", nominalStartTime=AT.isoformat(), nominalEndTime=AT.isoformat()),
        "parent": parent(PLACES, "dag", run_id_of("a run")),
        "processing_engine": facet("processing_engine", name="spark", version="4.2.0"),
        "errorMessage": failure_facet("why"),
        "jobType": facet("jobType", processingType="BATCH", integration="AIRFLOW", jobType="DAG"),
        "dataQualityAssertions": facet("dataQualityAssertions", assertions=[]),
    }
    assert set(used) == set(STANDARD)
    for name, document in used.items():
        fields = {key: value for key, value in document.items() if not key.startswith("_")}
        made: BaseFacet = STANDARD[name](**fields)
        assert document["_schemaURL"] == made._schemaURL, name
    assertion = quality(result()).pop()["assertions"][0]
    assert data_quality_assertions_dataset.Assertion(**assertion).name == "a check"


def test_an_event_is_what_the_client_writes() -> None:
    made = run_event(
        "COMPLETE", AT, PLACES, "job", run_id_of("x"), job_type=("BATCH", "AIRFLOW", "DAG"),
        inputs=[PLACES.topic("a topic")], outputs=[PLACES.table("candles")],
    )  # fmt: skip
    theirs = RunEvent(
        eventType=RunState.COMPLETE,
        eventTime=AT.isoformat(),
        run=Run(run_id_of("x"), {}),
        job=Job("market-data.sandbox", "job", {}),
        inputs=[InputDataset(PLACES.kafka, "a topic")],
        outputs=[OutputDataset(PLACES.postgres, "financial_data.market.candles")],
        producer="urn:market-data-platform",
    )
    document = json.loads(Serde.to_json(theirs))
    assert set(made) == set(document)
    assert made["schemaURL"] == document["schemaURL"]
    assert made["eventTime"] == document["eventTime"]
    assert made["run"] == document["run"]
    for side, kind in (("inputs", InputDataset), ("outputs", OutputDataset)):
        for mine, other in zip(made[side], document[side], strict=True):
            assert (mine["namespace"], mine["name"]) == (other["namespace"], other["name"])
            assert set(mine) <= set(Dataset.__annotations__) | set(kind.__annotations__)


def test_a_run_has_one_id_whoever_asks() -> None:
    assert run_id_of("a", "b") == run_id_of("a", "b") != run_id_of("a", "c")


def test_places_name_servers_and_no_login() -> None:
    chosen = Settings(
        market="replay",
        kafka_bootstrap_servers="one:9092, two:9092",
        reader_database_url="postgresql://reader:s3cret@db.example/financial_data",
        database_url="postgresql://owner:t0psecret@db.example:1/other",
    )
    assert Places.of(chosen) == Places(
        "market-data.replay", "kafka://one:9092", "postgres://db.example:5432", "financial_data"
    )
    with pytest.raises(SettingsError):
        Places.of(Settings(market="replay"))


def result(**changes: Any) -> Result:
    fields: dict[str, Any] = {
        "suite": "candles", "check_name": "a check", "dimension": "validity", "severity": "critical", "passed": True,
        "observed": "as expected", "expected": "all", "reason": "Why.",
    }  # fmt: skip
    return Result(**(fields | changes))


def quality_document(*results: Result, failure: Exception | None = None) -> dict[str, Any]:
    return quality_event(PLACES, AT, "manual__1", "manual-1", (AT, AT), "1.2.3+gabc", results, failure)


def quality(*results: Result) -> list[dict[str, Any]]:
    return [each["inputFacets"]["dataQualityAssertions"] for each in quality_document(*results)["inputs"]]


def test_checks_are_assertions_of_the_table_that_they_look_at() -> None:
    document = quality_document(
        result(),
        result(check_name="other", passed=False, severity="warning"),
        result(suite="symbol_completeness", check_name="holes"),
        result(suite="symbol_freshness", check_name="fresh"),
        result(suite="symbol_freshness", check_name="fresh", symbol="AAPL", passed=False),
    )
    assert document["eventType"] == "COMPLETE", "a warning fails nothing"
    told = {each["name"]: each["inputFacets"]["dataQualityAssertions"]["assertions"] for each in document["inputs"]}
    assert {name: [each["name"] for each in listed] for name, listed in told.items()} == {
        "financial_data.market.candles": ["a check", "other", "holes"],
        "financial_data.market.market_events": ["fresh"],
    }
    assert [(each["success"], each["severity"]) for each in told["financial_data.market.candles"]][:2] == [
        (True, "error"),
        (False, "warn"),
    ]
    facets = document["run"]["facets"]
    assert facets["nominalTime"]["nominalStartTime"] == AT.isoformat()
    assert facets["marketData_code"]["version"] == "1.2.3+gabc"
    assert facets["parent"]["run"]["runId"] == run_id_of("market-data.sandbox", "check_data_quality", "manual__1")


def test_a_critical_check_that_fails_and_a_run_that_could_not_check_are_failures() -> None:
    assert quality_document(result(passed=False))["eventType"] == "FAIL"
    document = quality_document(failure=ValueError("row (secret, 12.5) is bad"))
    assert document["eventType"] == "FAIL"
    assert document["run"]["facets"]["errorMessage"]["message"] == "ValueError"
    known = quality_document(failure=SettingsError("NOPE is not collected here\nand a trace"))
    assert known["run"]["facets"]["errorMessage"]["message"] == "NOPE is not collected here"
