"""### Publish crypto prices
Every `INGESTION_INTERVAL_SECONDS` (60): asks the crypto source for the 1-minute bars that closed since the
last one published and for the current price, validates them and publishes them to the Kafka topic
`market.crypto.events.v1`. What is not valid goes to `market.events.dlq.v1` with its reason.

**Running it twice** publishes nothing twice: a watermark per symbol is kept in `ingestion_watermarks`.
**When it fails**, every symbol failed; the log names the source's reason. The next run asks again from
the last watermark, so nothing is lost. By hand: `./pipeline run-once crypto`.
"""

from __future__ import annotations

from datetime import timedelta

import pendulum
from airflow.sdk import dag, task

from include.settings import settings


@dag(
    schedule=timedelta(seconds=settings().ingestion_interval_seconds),
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    catchup=False,
    max_active_runs=1,
    dagrun_timeout=timedelta(minutes=10),
    default_args={"retries": 2, "retry_delay": timedelta(seconds=5)},
    doc_md=__doc__,
    tags=["ingest", "crypto"],
)
def ingest_crypto() -> None:
    @task(execution_timeout=timedelta(minutes=5))
    def publish_events() -> dict[str, object]:
        from include.operators.services import connected_settings
        from include.producers.crypto_producer import CryptoDataProducer

        with CryptoDataProducer(connected_settings()) as producer:
            return producer.run_once().as_dict()

    publish_events()


ingest_crypto()
