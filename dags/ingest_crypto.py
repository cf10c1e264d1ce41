"""### Publish crypto prices
Every `INGESTION_INTERVAL_SECONDS` (60): asks for the 1-minute bars that closed since the last one published and
for the current prices, validates them and publishes them to the Kafka topic `market.crypto.events.v1`. What is
not valid goes to `market.events.dlq.v1` with its reason (`./pipeline dead-letters list`).

**Sources**: Binance first, CoinGecko's prices when Binance fails, refuses or stands still; back to Binance after three
good answers in a row, and the bars of the time between are fetched then. Who serves, breakers, bans and
quotas: `./pipeline sources`. Switches: `source_switches`.

**Trades**: with `CRYPTO_STREAMING=true` the DAG `market_stream` keeps a producer running that takes every trade from
Binance's websocket, and the minutes that are made of trades get no bar from here.

**By hand**: Trigger, with a form: only some symbols, only one source, or a dry run that publishes nothing.
The same from a shell: `./pipeline run-once crypto`.

**Running it twice** publishes nothing twice: a watermark per symbol is kept in `ingestion_watermarks`.

**When it fails**
- *SettingsError*: the log names the setting or the symbol; mend `.env`, then `./pipeline down` and `up`.
- *a source's error* (RateLimited, Banned, Transient ...): no source answered for any symbol. Nothing is lost: the next
  run asks from the last published bar on. A ban ends by itself, and nobody is called before it does.
- *GeoBlocked*: this place is not served by the host; set `BINANCE_BASE_URL` to one that serves it.
- *PublishError*: the spool on disk is full, because Kafka has been away for long: `./pipeline status`, then the
  spool empties by itself.
"""

from __future__ import annotations

from airflow.sdk import dag, task

from include.operators.ingestion import ingestion_dag, ingestion_task, poll


@dag(**ingestion_dag("crypto"), doc_md=__doc__)
def ingest_crypto() -> None:
    @task(**ingestion_task("crypto"))
    def publish_events() -> dict[str, object]:
        return poll("crypto")

    publish_events()


ingest_crypto()
