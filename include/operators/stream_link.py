"""The button on the task that opens the driver's own pages."""

from __future__ import annotations

from typing import Any

from airflow.sdk import BaseOperatorLink


class SparkUiLink(BaseOperatorLink):
    """The address that the driver said at its last heartbeat."""

    name = "Spark UI"
    #: Where Airflow looks for the address; a task that ends in the triggerer puts it there by itself.
    xcom_key = "_link_SparkUiLink"

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        """What the operator saw in this run; asked for by the task's process as it ends."""
        return getattr(operator, "spark_ui", None) or ""
