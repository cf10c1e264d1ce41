"""The same transforms on Spark's DataFrames, Parquet to Parquet, in a process of its own.

    python -m benchmarks.backfill_parts.spark_program EVENTS FOLDER PASSES

Prints a line of JSON: seconds of the session's start, and of each pass; the first one warms the JVM up and starts the
Python workers.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

from pyspark.sql import SparkSession

from include.market.candle import KEY
from spark_jobs.transforms.candles import candles_of
from spark_jobs.transforms.dataframes import anomalies_of, indicators_of


def main(events: Path, folder: Path, passes: int) -> None:
    began = time.perf_counter()
    spark = _session(os.cpu_count() or 1)
    start = time.perf_counter() - began
    seconds = []
    for _ in range(passes):
        began = time.perf_counter()
        one_pass(spark, events, folder)
        seconds.append(time.perf_counter() - began)
    spark.stop()
    print(json.dumps({"start": start, "passes": seconds}))


def one_pass(spark: SparkSession, events: Path, folder: Path) -> None:
    """Each table is written, and read again by the next: nothing is computed twice."""
    candles_of(spark.read.parquet(str(events))).write.mode("overwrite").parquet(str(folder / "candles"))
    candles = spark.read.parquet(str(folder / "candles"))
    indicators_of(candles).write.mode("overwrite").parquet(str(folder / "indicators"))
    returns = spark.read.parquet(str(folder / "indicators")).select(*KEY, "log_return")
    judged = candles.select(*KEY, "volume").join(returns, list(KEY))
    anomalies_of(judged).write.mode("overwrite").parquet(str(folder / "anomalies"))


def _session(cores: int) -> SparkSession:
    session = (
        SparkSession.builder.master(f"local[{cores}]")
        .appName("backfill")
        .config("spark.ui.enabled", "false")
        .config("spark.ui.showConsoleProgress", "false")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.sql.shuffle.partitions", cores)
        .config("spark.sql.session.timeZone", "UTC")
        .getOrCreate()
    )
    session.sparkContext.setLogLevel("ERROR")
    return session


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
