"""### Backfill bars
Daily after the close, and over any range of days: asks the sources once more for the 1-minute bars of each symbol and
UTC day, and puts in what is missing. A closed bar that now has other figures becomes a revision; the newest counts, and
what was known before can still be asked for (`as_of`). Candles, and every indicator behind them, follow in the same
transaction.

**By hand**: Trigger, with a form: symbols, source, first and last day. *Dry run* says, in the log of `plan_stocks` and
`plan_crypto`, which minutes are missing and what fetching them costs in calls, and changes nothing. Over many days,
with a run for each: the *Backfill* option of the trigger dialogue, or `./pipeline airflow backfill create --dag-id
backfill_bars --from-date 2026-11-01 --to-date 2026-11-30`.

**What you see**: a mapped task for each symbol and day, named so; `report` has the counts of each symbol in its log, on
the asset `market_bars` and in `backfill_results`.

| count | bars that |
| --- | --- |
| fetched | the source gave |
| new, changed, unchanged | were missing, have other figures now, are as they were |
| left | tell of a minute whose trades, or whose bar of another source, are held |
| refused | are not valid: `./pipeline dead-letters list` |

**Splits and dividends** of a stock are asked for before its first bars of a day are taken (`corporate_actions`). Yahoo
gives days before a split in the shares of now: they are taken as they were traded, and only where minutes are missing.
A day that is adjusted in part is refused by name. `adjusted_candles` and `adjusted_daily_bars` show prices in the
shares of now, by `adjustment_factors`; raw rows are never rewritten.

**Quota**: tasks take a slot of their source's pool, and every call is counted with those of the polls
(`./pipeline sources`). **Running it twice**, or over days that are being collected, changes nothing.

**When it fails**: a part whose sources all refuse is tried again every minute, three times; then its log says why. A
day that is only in the archive is refused: `./pipeline archive restore DAY` first.
"""

from __future__ import annotations

from datetime import timedelta

import pendulum
from airflow.sdk import CronDataIntervalTimetable, TriggerRule, dag, task

from include.operators.backfill import BARS, backfill_params, fill, part_task, plan, report


# A plain cron string would make runs whose data interval is empty.
@dag(
    schedule=CronDataIntervalTimetable("0 0 * * *", timezone="UTC"),
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    catchup=False,
    max_active_runs=1,
    dagrun_timeout=timedelta(hours=6),
    default_args={"retries": 1, "retry_delay": timedelta(seconds=15)},
    params=backfill_params(),
    doc_md=__doc__,
    tags=["history"],
)
def backfill_bars() -> None:
    @task(execution_timeout=timedelta(minutes=2))
    def plan_stocks() -> list[dict[str, str]]:
        return plan("stock")

    @task(execution_timeout=timedelta(minutes=2))
    def plan_crypto() -> list[dict[str, str]]:
        return plan("crypto")

    @task(**part_task("stock"))
    def fill_stock(part: dict[str, str]) -> dict[str, object]:
        return fill("stock", part)

    @task(**part_task("crypto"))
    def fill_crypto(part: dict[str, str]) -> dict[str, object]:
        return fill("crypto", part)

    # Last, whatever became of the parts, so that the run says what is not done.
    @task(outlets=[BARS], execution_timeout=timedelta(minutes=5), trigger_rule=TriggerRule.ALL_DONE)
    def report_counts(stock: list[dict[str, str]], crypto: list[dict[str, str]]) -> dict[str, object]:
        return report(stock, crypto)

    stock, crypto = plan_stocks(), plan_crypto()
    [fill_stock.expand(part=stock), fill_crypto.expand(part=crypto)] >> report_counts(stock, crypto)


backfill_bars()
