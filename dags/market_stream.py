"""### Keep the stream running
Every minute: looks at the lease, the ledger and Kafka's ends, takes one step if one is due (start, stop or replace
the Spark driver), then watches the driver for the rest of the minute without holding a worker.

**The driver is not a child of this task.** It is submitted detached, with `spark-submit` and the connection
`spark_default`, and goes on when a task, the scheduler or all of Airflow stops. A second one can write nothing: the
lease has one owner and every batch checks it. When it dies, it is started again within a minute and goes on at its
checkpoint.

**What you see of a run**: the XCom `return_value` of `ensure_stream`, and its log: state in words, epoch, pid, lag,
batch, rates and watermark of each query, the last error, the starts of late. **Spark UI** is a button in its *Details*.

**To stop it**: trigger with *action = stop*, or mark a run as failed: stopped until somebody starts it. Or pause this
DAG: stopped until it is unpaused. It finishes its batch first.
**To start it again**: trigger with *action = start*, clear the run that was marked, or `./pipeline up`.

**When it fails**
- *broken: it keeps ending*: five starts within 15 minutes ended badly. The line has the last reason and when it is
  tried again; the whole is in `./pipeline logs stream`. To try now: *action = start*.
- *blocked by one batch*: the same batch failed three times. The line names query, batch and offsets; nothing is
  started until somebody does, for it would fail again.
- *a checkpoint is refused*: *action = rebuild* reads the topics again from their start; what is stored is recognised.

`keep_trades_streaming` does the same for the trade stream (`CRYPTO_STREAMING=true`), which takes every trade from
Binance's websocket; switched off, it is stopped, and what it began is completed. Its log: `./pipeline logs trades`.
"""

from __future__ import annotations

from datetime import timedelta

import pendulum
from airflow.sdk import dag, task

from include.operators.stream_operator import KeepStreamOperator, stream_params


@dag(
    schedule=timedelta(minutes=1),
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    catchup=False,
    max_active_runs=1,
    dagrun_timeout=timedelta(minutes=5),
    # At a start all DAGs are due at once, and all else waits for what this one starts.
    default_args={"retries": 2, "retry_delay": timedelta(seconds=5), "priority_weight": 20},
    params=stream_params(),
    doc_md=__doc__,
    tags=["stream"],
)
def market_stream() -> None:
    KeepStreamOperator(task_id="ensure_stream", execution_timeout=timedelta(minutes=4))

    @task(execution_timeout=timedelta(minutes=2))
    def keep_trades_streaming() -> dict[str, object]:
        from include.operators.services import connected_settings
        from include.operators.trade_stream import ensure_trade_stream

        return ensure_trade_stream(connected_settings())

    keep_trades_streaming()


market_stream()
