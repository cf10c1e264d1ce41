"""### Keep the stream running
Every minute: looks at the lease of the Spark driver and takes one step. Alive: reports its figures.
Not alive: submits `spark_jobs/stream.py` with spark-submit through the connection `spark_default`,
detached, and waits until that driver owns the lease and its queries run.

`keep_trades_streaming` does the same for the trade stream (`CRYPTO_STREAMING=true`), which takes every trade from
Binance's websocket; switched off, it is stopped, and what it began is completed. Its log: `./pipeline logs trades`.

The driver is **not** a child of this task: it goes on when a task, the scheduler or all of Airflow stops,
and a second run never makes a second one, because the lease has one owner and every batch checks it.
**When it fails**, the log shows the driver's last words; the whole is in `./pipeline logs stream`.
"""

from __future__ import annotations

from datetime import timedelta

import pendulum
from airflow.sdk import dag, task


@dag(
    schedule=timedelta(minutes=1),
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    catchup=False,
    max_active_runs=1,
    dagrun_timeout=timedelta(minutes=5),
    default_args={"retries": 2, "retry_delay": timedelta(seconds=5)},
    doc_md=__doc__,
    tags=["stream"],
)
def market_stream() -> None:
    @task(execution_timeout=timedelta(minutes=4))
    def ensure_stream() -> dict[str, object]:
        from include.operations.stream import ensure_running
        from include.operators.services import connected_settings, database_url
        from include.operators.spark_driver import APPLICATION, spark_submit

        chosen = connected_settings()
        hook = spark_submit(chosen)
        log_file = chosen.state_dir / "logs" / "stream.log"
        return ensure_running(database_url("postgres_default"), lambda: hook.launch(APPLICATION, log_file))

    @task(execution_timeout=timedelta(minutes=2))
    def keep_trades_streaming() -> dict[str, object]:
        from include.operators.services import connected_settings
        from include.operators.trade_stream import ensure_trade_stream

        return ensure_trade_stream(connected_settings())

    ensure_stream()
    keep_trades_streaming()


market_stream()
