"""### Bring the warehouse's schema up to date
By hand: shows the pending revisions and their SQL in the log, then applies them under an advisory lock.
`./pipeline up` does the same at its start; with nothing pending a run changes nothing.
"""

from __future__ import annotations

from datetime import timedelta

import pendulum
from airflow.sdk import dag, task


@dag(
    schedule=None,
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    catchup=False,
    max_active_runs=1,
    default_args={"retries": 1, "retry_delay": timedelta(seconds=10)},
    doc_md=__doc__,
    tags=["warehouse"],
)
def migrate_schema() -> None:
    @task(execution_timeout=timedelta(minutes=5))
    def show_pending() -> list[str]:
        from include.operators.services import connected_settings, database_url
        from include.storage.migrate import pending, pending_sql

        url = database_url("postgres_owner")
        print(pending_sql(url, connected_settings().market) or "nothing is pending")
        return pending(url)

    @task(execution_timeout=timedelta(minutes=30))
    def apply_pending(revisions: list[str]) -> list[str]:
        from include.operators.services import connected_settings, database_url
        from include.storage.migrate import upgrade

        return upgrade(database_url("postgres_owner"), connected_settings().market) if revisions else []

    apply_pending(show_pending())


migrate_schema()
