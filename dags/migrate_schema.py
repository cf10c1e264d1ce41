"""### Bring the warehouse's schema up to date
By hand. `./pipeline up` does the same at its start; with nothing pending a run changes nothing.

`show_pending` has the pending revisions as its XCom and their SQL in its log. With *Ask a person first* in the form,
`ask_approval` then waits in *Required Actions*, where the same SQL is shown: *Reject*, or a day without an answer, and
nothing is applied. `apply_pending` applies what was shown, one transaction a revision, under an advisory lock. Who
applied what, when and by which run is in `schema_changes`; `report_outcome` says it in a sentence.

The stream goes on meanwhile: a migration waits two seconds for a lock, gives way, and tries again.

**When it fails**: the revision that failed has changed nothing, those before it stand. Its log says why; *got no lock*
means that something holds a table for long: look in `pg_stat_activity`, and run it again.
"""

from __future__ import annotations

from datetime import timedelta

import pendulum
from airflow.sdk import TriggerRule, dag, task

from include.operators.approval import APPROVE, AskedApproval, approve_param
from include.operators.schema_change import ASKING, apply, outcome, show


@dag(
    schedule=None,
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    catchup=False,
    max_active_runs=1,
    default_args={"retries": 1, "retry_delay": timedelta(seconds=10)},
    params={APPROVE: approve_param()},
    doc_md=__doc__,
    tags=["warehouse"],
)
def migrate_schema() -> None:
    @task(execution_timeout=timedelta(minutes=5))
    def show_pending() -> dict[str, object]:
        return show()

    ask_approval = AskedApproval(
        task_id=ASKING,
        subject="Apply these migrations?",
        body="{{ ti.xcom_pull(task_ids='show_pending')['question'] }}",
        execution_timeout=timedelta(minutes=5),
    )

    @task(execution_timeout=timedelta(minutes=30))
    def apply_pending(shown: dict[str, list[str]]) -> list[str]:
        return apply(shown["revisions"])

    # Also where the change was refused, which skips the task before.
    @task(execution_timeout=timedelta(minutes=1), trigger_rule=TriggerRule.NONE_FAILED)
    def report_outcome(shown: dict[str, list[str]], applied: list[str] | None) -> str:
        return outcome(shown["revisions"], applied)

    shown = show_pending()
    applied = apply_pending(shown)
    shown >> ask_approval >> applied
    report_outcome(shown, applied)


migrate_schema()
