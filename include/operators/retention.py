"""The task of apply_retention: what is due, or the day that the form names."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

from airflow.sdk import ExceptionRetryPolicy, Param, RetryAction, RetryRule, get_current_context


def retention_params() -> dict[str, Param]:
    """The form; a scheduled run leaves it as it is."""
    return {
        "dry_run": Param(
            False, type="boolean", title="Dry run", description="Says what is due, and moves nothing."
        ),
        "restore": Param(
            None,
            type=["null", "string"],
            format="date",
            title="Bring a day back",
            description="This day (UTC) from the archive into PostgreSQL, and nothing else.",
        ),
    }  # fmt: skip


def retention_task() -> dict[str, Any]:
    """Which failures another try cannot mend; a lock is gone by then."""
    rules = [
        RetryRule(exception=f"include.{name}", action=RetryAction.FAIL, reason=reason)
        for name, reason in (
            ("errors.SettingsError", "A setting cannot be used; another try would meet it again."),
            ("storage.archive_catalogue.ArchiveError", "A day is not as the archive says: somebody must look at it."),
        )
    ]
    return {"retry_policy": ExceptionRetryPolicy(rules=rules)}


def move_days() -> dict[str, Any]:
    """As the run's form says. Raises SettingsError, ArchiveError, DayIsBusy, psycopg.Error."""
    from include.operations.retention import apply_retention, longest_kafka_hours, restore, rules
    from include.operators.services import database_url
    from include.settings import settings
    from include.storage.archive_catalogue import archive_folder

    params = get_current_context()["params"]
    owner, folder = database_url("postgres_owner"), archive_folder(settings())
    if params["restore"]:
        return {"restored": restore(owner, folder, date.fromisoformat(params["restore"]))}
    wanted = rules(settings(), longest_kafka_hours())
    return apply_retention(owner, folder, wanted, datetime.now(UTC).date(), dry_run=bool(params["dry_run"]))
