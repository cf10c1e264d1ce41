"""### Move old days to the archive
Daily at 02:30 UTC, for the tables that are kept by day: `market_events` and `data_quality_results`.

1. Partitions are made for the coming seven days.
2. Days older than `ARCHIVE_AFTER_DAYS` (7) are copied to Parquet files, read back and compared: **warm**.
3. Days older than `KEEP_DAYS` (30) leave PostgreSQL after their file has been verified again: **cold**.

The result says per table how many days are hot, warm and cold, and which were moved, with rows and bytes.
**Running it twice** moves nothing the second time. It may be killed at any moment: the next run goes on.

**By hand**: Trigger, with a form. *Dry run* says what is due and moves nothing. *Bring a day back* copies a cold day
into PostgreSQL again, for a backfill or a recomputation; it then stays as long as a new day does. From a shell:
`./pipeline archive list`, `./pipeline archive restore DAY`.

**When it fails**
- *SettingsError*: the line names the setting; mend `.env`, then `./pipeline down` and `up`.
- *ArchiveError*: the days it names were left as they are, all others were moved. A file is damaged or gone, or rows
  were altered in PostgreSQL behind its back: "Hot, warm, cold" in `docs/WAREHOUSE.md` says what to do.
- *a lock*: somebody reads or writes the table for long; the next try or the next night moves the day.
"""

from __future__ import annotations

from datetime import timedelta

import pendulum
from airflow.sdk import dag, task

from include.operators.retention import retention_params, retention_task


@dag(
    schedule="30 2 * * *",
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    catchup=False,
    max_active_runs=1,
    dagrun_timeout=timedelta(hours=8),
    default_args={"retries": 2, "retry_delay": timedelta(minutes=5)},
    params=retention_params(),
    doc_md=__doc__,
    tags=["warehouse"],
)
def apply_retention() -> None:
    @task(execution_timeout=timedelta(hours=4), **retention_task())
    def move_days() -> dict[str, object]:
        from include.operators.retention import move_days

        return move_days()

    move_days()


apply_retention()
