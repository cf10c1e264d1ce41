"""### Repair what the stream left for later
Every minute; cheap when there is nothing to do.

`stop_paused_stream` looks whether `market_stream` is paused. If it is, nobody looks after the driver any more, so
the driver and the trade stream are stopped: each finishes its batch first. Unpausing starts them again.

`repair_indicators` looks at `indicator_repairs`: a late event changes the indicators of every later candle, and
where these are too many for one batch, the stream writes down from where they are to be computed again. A process
beside the stream (`python -m spark_jobs.recompute --repairs`) does so and reports `changed`, the rows that were not
right before. **Running it twice** changes nothing the second time.

**When it fails**: the log has the last words of that process, the whole is in `./pipeline logs recompute`. The next run
tries again.
"""

from __future__ import annotations

from datetime import timedelta

import pendulum
from airflow.sdk import dag, get_current_context, task


@dag(
    schedule=timedelta(minutes=1),
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    catchup=False,
    max_active_runs=1,
    dagrun_timeout=timedelta(minutes=15),
    default_args={"retries": 1, "retry_delay": timedelta(seconds=10)},
    doc_md=__doc__,
    tags=["stream", "repair"],
)
def repair_gaps() -> None:
    @task(execution_timeout=timedelta(minutes=3))
    def stop_paused_stream() -> dict[str, object]:
        from include.operators.gap_repair import stop_stream_if

        return stop_stream_if(get_current_context()["ti"].get_dag("market_stream").is_paused)

    @task(execution_timeout=timedelta(minutes=10))
    def repair_indicators() -> dict[str, object]:
        from include.operators.gap_repair import repair

        return repair()

    stop_paused_stream()
    repair_indicators()


repair_gaps()
