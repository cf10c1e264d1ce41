"""The Spark session of our applications: what config/spark.yaml says; the master comes from spark-submit."""

from __future__ import annotations

from dataclasses import dataclass

import yaml
from pyspark.sql import SparkSession

from include.settings import PROJECT_ROOT


@dataclass(frozen=True, slots=True)
class SparkSettings:
    """`trigger` as Spark's processingTime text."""

    trigger: str
    max_offsets_per_trigger: int
    session: dict[str, str]


def spark_settings() -> SparkSettings:
    document = yaml.safe_load((PROJECT_ROOT / "config" / "spark.yaml").read_text(encoding="utf-8"))
    return SparkSettings(**document)


def open_session(name: str, chosen: SparkSettings) -> SparkSession:
    """Start (or get) the session with our settings."""
    builder = SparkSession.builder.appName(name)
    for key, value in chosen.session.items():
        builder = builder.config(key, value)
    spark = builder.getOrCreate()
    spark.sparkContext.setLogLevel("WARN")
    return spark
