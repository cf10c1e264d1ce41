"""What Airflow tells of lineage: each run of a DAG and each try of a task, to the journal of OpenLineage events."""

from __future__ import annotations

from airflow.plugins_manager import AirflowPlugin

from include.operators.lineage import DagLineage


class LineagePlugin(AirflowPlugin):
    name = "lineage"
    listeners = (DagLineage(),)
