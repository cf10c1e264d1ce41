"""The same candles from the same offsets without streaming: `spark.read`. Run by spark-submit.

    spark-submit candle_batch.py FOLDER PASSES

The pipeline's parser and candle transform over the whole topic, written as Parquet, PASSES times in one session, so
that the last pass is warm. Appends `monotonic seconds, records` to FOLDER/marks at the start and after each pass.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from include.market.topics import EVENTS
from include.settings import required, settings
from spark_jobs.session import open_session, spark_settings
from spark_jobs.transforms.candles import candles_of
from spark_jobs.transforms.parse import parse


def main(folder: Path, passes: int) -> None:
    servers = required(settings().kafka_bootstrap_servers, "KAFKA_BOOTSTRAP_SERVERS")
    spark = open_session("candle_batch", spark_settings())
    done = 0
    with (folder / "marks").open("a", buffering=1) as marks:
        marks.write(f"{time.monotonic()} {done}\n")
        for _ in range(passes):
            done += one_pass(spark, servers, folder / "candles")
            marks.write(f"{time.monotonic()} {done}\n")
    spark.stop()


def one_pass(spark: SparkSession, servers: str, target: Path) -> int:
    """Candles of the whole topic of stocks to `target`; how many events are in them."""
    records = (
        spark.read.format("kafka")
        .option("kafka.bootstrap.servers", servers)
        .option("subscribe", EVENTS["stock"])
        .option("startingOffsets", "earliest")
        .option("endingOffsets", "latest")
        .load()
    )
    events = parse(records, "stock").where("reason IS NULL").withColumn("revision", F.lit(0))
    candles_of(events).write.mode("overwrite").parquet(str(target))
    counted = spark.read.parquet(str(target)).where("interval = '1m'").agg(F.sum("event_count")).first()
    return int(counted[0]) if counted else 0


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
