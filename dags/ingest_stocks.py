"""### Publish stock prices
Every `INGESTION_INTERVAL_SECONDS` (60): asks for the 1-minute bars that closed since the last one published,
for the current price, and once a day for the day's close; validates them and publishes them to the Kafka
topic `market.stock.events.v1`. What is not valid goes to `market.events.dlq.v1` with its reason
(`./pipeline dead-letters list`).

**Sources**: Yahoo Finance first, Alpha Vantage when Yahoo fails, refuses or stands still; back to Yahoo after three
good answers in a row. Who serves, breakers, bans and quotas: `./pipeline sources`. Switches: `source_switches`.

**By hand**: Trigger, with a form: only some symbols, only one source, or a dry run that publishes nothing.
The same from a shell: `./pipeline run-once stocks`.

**Running it twice** publishes nothing twice: a watermark per symbol is kept in `ingestion_watermarks`.

**When it fails**
- *SettingsError*: the log names the setting or the symbol; mend `.env`, then `./pipeline down` and `up`.
- *a source's error* (RateLimited, Banned, Transient ...): no source answered for any symbol. Nothing is lost: the next
  run asks from the last published bar on. A ban ends by itself, and nobody is called before it does.
- *PublishError*: the spool on disk is full, because Kafka has been away for long: `./pipeline status`, then the
  spool empties by itself.
"""

from __future__ import annotations

from airflow.sdk import dag, task

from include.operators.ingestion import ingestion_dag, ingestion_task, poll


@dag(**ingestion_dag("stock"), doc_md=__doc__)
def ingest_stocks() -> None:
    @task(**ingestion_task("stock"))
    def publish_events() -> dict[str, object]:
        return poll("stock")

    publish_events()


ingest_stocks()
