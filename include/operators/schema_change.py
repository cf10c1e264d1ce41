"""The tasks of migrate_schema: what is pending, its change, and the run's last word."""

from __future__ import annotations

from typing import Any

from airflow.sdk import get_current_context

from include.operators.approval import answerer, decided_by, is_rejected

OWNER = "postgres_owner"
ASKING = "ask_approval"


def show() -> dict[str, Any]:
    """`revisions` that are pending, oldest first, and the `question` that shows their SQL; empty if none is.

    Raises MarketDataError, sqlalchemy's OperationalError.
    """
    from include.operators.services import connected_settings, database_url
    from include.storage.migrate import pending, pending_sql

    url = database_url(OWNER)
    revisions, sql = pending(url), pending_sql(url, connected_settings().market or "sandbox")
    print(sql or "nothing is pending")
    return {"revisions": revisions, "question": _question(revisions, sql) if revisions else ""}


def apply(revisions: list[str]) -> list[str]:
    """Apply what was shown and no more; the revisions applied, and who and by which run in `schema_changes`."""
    if not revisions:
        return []
    from include.operators.services import connected_settings, database_url
    from include.storage.migrate import upgrade

    context = get_current_context()
    run = context["dag_run"]
    by = decided_by(run, context["ti"].xcom_pull(task_ids=ASKING))
    via = f"{run.dag_id}, run {run.run_id}"
    return upgrade(database_url(OWNER), connected_settings().market or "sandbox", revisions[-1], via=via, by=by)


def outcome(revisions: list[str], applied: list[str] | None) -> str:
    """The run in one sentence; `applied` is null where a person refused."""
    answer = get_current_context()["ti"].xcom_pull(task_ids=ASKING)
    if is_rejected(answer):
        return f"refused by {answerer(answer)}, nothing was applied: {', '.join(revisions)}"
    return f"applied {', '.join(applied)}" if applied else "nothing was pending"


def _question(revisions: list[str], sql: str) -> str:
    return (
        f"Pending: {', '.join(revisions)}. This is run, each revision in one transaction:\n\n"
        f"```sql\n{sql.strip()}\n```\n"
    )
