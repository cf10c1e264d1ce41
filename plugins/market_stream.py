"""What market_stream adds to Airflow's UI: the button to the Spark UI, and a stop by marking a run as failed."""

from __future__ import annotations

from airflow.plugins_manager import AirflowPlugin

from include.operators.manual_stop import ManualStop
from include.operators.stream_link import SparkUiLink


class MarketStreamPlugin(AirflowPlugin):
    name = "market_stream"
    operator_extra_links = (SparkUiLink(),)
    listeners = (ManualStop(),)
