"""### Repair what is missing and what the stream left for later
Every minute; cheap when there is nothing to do.

`find_gaps` brings the ledger `data_gaps` in step with the tables: of each collected symbol and the last week, every
stretch of minutes in session without a bar or a trade has a row with its cause: *our outage*, *source outage*, *halt*,
*no trades*, *not listed*, *unknown*. What has come since is *filled*.

`fill_stock_gaps` and `fill_crypto_gaps` ask the sources for what is most worth a call, many minutes before few and
today's before last week's, and leave half of each quota to the polls. What a source has is put in as by
`backfill_bars`; what it does not have is *unfillable* with the reason, and not asked for again; where nobody answers,
it is tried again after a longer pause each time. The live path has three minutes to bring it by itself first.

```sh
./pipeline psql -c "SELECT * FROM data_gaps WHERE closed_at IS NULL ORDER BY gap_start"
```

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

from include.operators.pools import pool_of


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

    @task.branch(execution_timeout=timedelta(minutes=3))
    def find_gaps() -> list[str]:
        from include.operators.gap_repair import find_gaps

        return find_gaps()

    @task(pool=pool_of("yahoo"), execution_timeout=timedelta(minutes=10))
    def fill_stock_gaps() -> dict[str, object]:
        from include.operators.gap_repair import fill_gaps

        return fill_gaps("stock")

    @task(pool=pool_of("binance"), execution_timeout=timedelta(minutes=10))
    def fill_crypto_gaps() -> dict[str, object]:
        from include.operators.gap_repair import fill_gaps

        return fill_gaps("crypto")

    stop_paused_stream()
    repair_indicators()
    find_gaps() >> [fill_stock_gaps(), fill_crypto_gaps()]


repair_gaps()
