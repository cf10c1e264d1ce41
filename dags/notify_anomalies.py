"""### Tell people what is wrong
Every minute; cheap when there is nothing to tell.

1. Anomalies of severity **high** or **critical** that were found since the last run become alerts, one for each candle
   and measure, two minutes after the candle's end: before, a volume is low because half of it is missing. An anomaly
   that is withdrawn is resolved, one that was told a day ago is over.
2. Open alerts of which nobody was told yet go out: those of anomalies and those that `check_data_quality` raises. They
   are always in the table `alerts` and in this log; by Slack with `SLACK_WEBHOOK_URL`, by mail with `ALERT_EMAIL` and
   `SMTP_HOST`. All that is new is one message, the worst first. An alert that goes on is not told again, unless it
   becomes worse.
3. OpenLineage events that were written since then go to the topic `market.lineage.v1`, and to `OPENLINEAGE_URL` if it
   is set. One that does not answer gets them with a later run.

**Running it twice** tells nothing twice. **What you see of a run**: the XCom `return_value` of `notify_people`: what
was raised, resolved and delivered, by which channels, and why one failed.

**By hand**: trigger with *Test message*: a notice to every channel that is set up.

**When a channel fails** the run does not: the reason is in the log and in the result, and the channel gets the alerts
with the next run. A test message is the exception: it fails and says why.
- *Slack answered 403* or *404*: the webhook is gone or wrong; mend `SLACK_WEBHOOK_URL` in `.env`.
- *the mail server ... (SMTPNotSupportedError)*: it offers no STARTTLS, and nothing is sent in the clear.
- *(SSLCertVerificationError)*: its certificate is not signed by a known authority; set `SSL_CERT_FILE` to yours.
"""

from __future__ import annotations

from datetime import timedelta

import pendulum
from airflow.sdk import dag, task

from include.operators.alerts import MEMORY, notify_params


@dag(
    schedule=timedelta(minutes=1),
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    catchup=False,
    max_active_runs=1,
    dagrun_timeout=timedelta(minutes=5),
    default_args={"retries": 1, "retry_delay": timedelta(seconds=10)},
    params=notify_params(),
    doc_md=__doc__,
    tags=["quality"],
)
def notify_anomalies() -> None:
    @task(execution_timeout=timedelta(minutes=2), inlets=[MEMORY])
    def notify_people() -> dict[str, object]:
        from include.operators.alerts import notify

        return notify()

    notify_people()


notify_anomalies()
