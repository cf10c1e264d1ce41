"""Indicators of contract §8. A new one is a file here, a line in `registry` and a test."""

from spark_jobs.transforms.indicators.registry import INDICATORS, LOOKBACK, SEEDED
from spark_jobs.transforms.indicators.tables import indicators_of_table

__all__ = ["INDICATORS", "LOOKBACK", "SEEDED", "indicators_of_table"]
