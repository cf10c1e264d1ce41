"""Our stream with candles and nothing else, for a pair with Quix. Run by spark-submit.

    spark-submit candle_stream.py TOPIC FOLDER

The pipeline's reader, parser and candle transform, batches as large as the driver's; the state (partials of open
windows) is a file in FOLDER, written at each batch, and the batch's candles go to TOPIC. No raw events, indicators,
PostgreSQL, Redis, lease. Appends `monotonic seconds, records` to FOLDER/marks at each batch; ends with the topic.
"""

from __future__ import annotations

import json
import os
import sys
import time
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from confluent_kafka import Producer
from pyspark.sql import DataFrame

from include.market.candle import FIGURES
from include.market.tables import EVENT_SCHEMA, PARTIAL_SCHEMA
from include.settings import required, settings
from spark_jobs.readers import read_events
from spark_jobs.session import open_session, spark_settings
from spark_jobs.transforms.candles import candles_from, merged, partials_of
from spark_jobs.transforms.parse import parse

_READ = [name for name in EVENT_SCHEMA.names if name != "revision"]
#: Windows so far behind the newest one get nothing more.
_OPEN = timedelta(minutes=15)


class CandleSink:
    """The foreachBatch function."""

    def __init__(self, producer: Producer, topic: str, folder: Path) -> None:
        self._producer = producer
        self._topic = topic
        self._folder = folder
        self._marks = (folder / "marks").open("a", buffering=1)
        self._known = PARTIAL_SCHEMA.empty_table()
        self._records = 0

    def write(self, events: DataFrame, _batch_id: int) -> None:
        rows = events.toArrow()
        if rows.num_rows:
            came = partials_of(rows)
            together = merged(pa.concat_tables([self._known.cast(PARTIAL_SCHEMA), came]))
            touched = together.join(came.select(["symbol", "interval", "window_start"]),
                                    ["symbol", "interval", "window_start"], join_type="left semi")  # fmt: skip
            self._send(candles_from(touched.select(PARTIAL_SCHEMA.names)))
            newest = pc.max(together["window_start"]).as_py()
            self._known = together.filter(pc.greater(together["window_start"], pa.scalar(newest - _OPEN)))
            self._keep()
        self._records += rows.num_rows
        self._marks.write(f"{time.monotonic()} {self._records}\n")

    def _send(self, candles: pa.Table) -> None:
        for row in candles.to_pylist():
            start = int(row["window_start"].timestamp())
            line = [row["symbol"], row["interval"], start, *(str(row[name]) for name in FIGURES if name != "source")]
            self._producer.produce(self._topic, json.dumps(line), key=row["symbol"])
        self._producer.flush()

    def _keep(self) -> None:
        new = self._folder / "state.new"
        pq.write_table(self._known, new)
        os.replace(new, self._folder / "state.parquet")


def main(topic: str, folder: Path) -> None:
    chosen, spark_chosen = settings(), spark_settings()
    servers = required(chosen.kafka_bootstrap_servers, "KAFKA_BOOTSTRAP_SERVERS")
    spark = open_session("candle_stream", spark_chosen)
    sink = CandleSink(Producer({"bootstrap.servers": servers}), topic, folder)
    events = parse(read_events(spark, servers, "stock", spark_chosen.max_offsets_per_trigger), "stock")
    query = (
        events.where("reason IS NULL")
        .select(*_READ)
        .writeStream.option("checkpointLocation", str(folder / "checkpoint"))
        .trigger(availableNow=True)
        .foreachBatch(sink.write)
        .start()
    )
    query.awaitTermination()
    spark.stop()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
