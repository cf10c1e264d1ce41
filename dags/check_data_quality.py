"""### Check the quality of the data
Every 10 minutes: the suites in `great_expectations/`, validated by Great Expectations on what came since the last run;
the first run of a day looks at the whole day before once more. Events of older days that came since (after an outage of
days, say), and a fault that an open alert tells of, are looked at too, up to a week back.

| suite | what it finds |
| --- | --- |
| `market_events` | wrong columns and types, repeats, impossible or implausible prices, shifted times |
| `candles`, `indicators`, `price_anomalies` | the same, and rows that do not follow from those below them |
| `symbol_freshness` | a symbol without news while its market is open; closed is not stale |
| `symbol_completeness` | minutes in session without a candle |
| `stream_batches` | Kafka, the ledger and the raw rows do not agree: something was lost, doubled or altered |

**What you see of a run**: the tab *Data quality* on the run's page says what failed, in words; all pages are in
*Browse, Data Docs*. The rows are in `data_quality_results`; the dashboard has them over time (`/quality`), a shell with
`./pipeline quality`.

**A critical check that fails** fails the run and raises an alert, which is resolved by the first run that looks at the
same span and in which it passes (of a fault older than a week: a run by hand over its day); a **warning** does
neither. Rows that fail a critical validity check are put in quarantine and their candles counted again without them;
`review_quarantine` releases or drops them.

**By hand**: trigger with a form: which suites, which day, which symbols. Running it twice changes nothing.

**When it fails**: the log of `judge_quality` has every critical check in words, *Data quality* the keys of the rows.
*Nothing was checked*: `validate_data` failed, its log says why (PostgreSQL is away), and an alert says so. A check that
*could not be checked* says why: a column that is gone, Kafka or a database that does not answer in time.
"""

from __future__ import annotations

from datetime import timedelta

import pendulum
from airflow.sdk import TriggerRule, dag, task

from include.operators.quality import judge, notify, quality_params, recompute_quarantined, validate


@dag(
    schedule=timedelta(minutes=10),
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    catchup=False,
    max_active_runs=1,
    dagrun_timeout=timedelta(minutes=30),
    default_args={"retries": 1, "retry_delay": timedelta(seconds=15)},
    params=quality_params(),
    doc_md=__doc__,
    tags=["quality"],
)
def check_data_quality() -> None:
    @task(execution_timeout=timedelta(minutes=10))
    def validate_data() -> dict[str, object]:
        return validate()

    @task(execution_timeout=timedelta(minutes=10))
    def recompute_candles() -> dict[str, object]:
        return recompute_quarantined()

    # Also where nothing could be checked: then of that.
    @task(execution_timeout=timedelta(minutes=2), trigger_rule=TriggerRule.ALL_DONE)
    def notify_people(found: dict[str, object] | None) -> dict[str, object]:
        return notify(found)

    # Last, so that the run fails and yet all is done that its findings ask for.
    @task(execution_timeout=timedelta(minutes=1), trigger_rule=TriggerRule.ALL_DONE)
    def judge_quality(found: dict[str, object] | None) -> str:
        return judge(found)

    found = validate_data()
    judged = judge_quality(found)
    found >> recompute_candles() >> judged
    notify_people(found) >> judged


check_data_quality()
