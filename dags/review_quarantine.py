"""### Decide about rows in quarantine
By hand. Rows of `market_events` that fail a critical validity check are held by `check_data_quality`: they stay where
they are, and do not count in candles. This run releases or drops them.

**release**: they count again; their candles, and all indicators after them, are computed again. A released row is never
held again. **drop**: they never count; nothing is deleted, the row stays in `market_events` and the decision in
`quarantined_events`, with who, when and why.

`show_rows` lists what the form has chosen; `ask_approval` shows the same in *Required Actions* and waits there, a day
at most: *Reject*, and nothing happens. There is no way around that question. `report_outcome` says in a sentence what
was done.

**Running it twice** finds nothing held the second time.

**When it fails**: the rows are decided already if `decide_rows` says so in its log, and the next run of it, or of
`check_data_quality`, counts their candles again.
"""

from __future__ import annotations

from datetime import timedelta

import pendulum
from airflow.sdk import TriggerRule, dag, task

from include.operators.approval import AskedApproval
from include.operators.quarantine import ASKING, decide, outcome, review_params, show


@dag(
    schedule=None,
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    catchup=False,
    max_active_runs=1,
    default_args={"retries": 1, "retry_delay": timedelta(seconds=10)},
    params=review_params(),
    doc_md=__doc__,
    tags=["quality"],
)
def review_quarantine() -> None:
    @task(execution_timeout=timedelta(minutes=2))
    def show_rows() -> dict[str, object]:
        return show()

    ask_approval = AskedApproval(
        task_id=ASKING,
        subject="Decide about these rows?",
        body="{{ ti.xcom_pull(task_ids='show_rows')['question'] }}",
        execution_timeout=timedelta(minutes=5),
    )

    @task(execution_timeout=timedelta(minutes=15))
    def decide_rows(shown: dict[str, int]) -> dict[str, object]:
        return decide(shown)

    # Also where it was refused, which skips the task before.
    @task(execution_timeout=timedelta(minutes=1), trigger_rule=TriggerRule.NONE_FAILED)
    def report_outcome(decided: dict[str, object] | None) -> str:
        return outcome(decided)

    shown = show_rows()
    decided = decide_rows(shown)
    shown >> ask_approval >> decided
    report_outcome(decided)


review_quarantine()
