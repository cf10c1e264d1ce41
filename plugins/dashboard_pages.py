"""Our own pages inside Airflow: market, quality and operations in its menu, and a tab on each run that leads on."""

from __future__ import annotations

from typing import Any, ClassVar

from airflow.plugins_manager import AirflowPlugin

from include.operators.pages import dashboard_url

_DASHBOARD = dashboard_url()
_PAGES = {"market": ("Market", "/"), "quality": ("Quality", "/quality"), "operations": ("Operations", "/operations")}


class DashboardPagesPlugin(AirflowPlugin):
    name = "dashboard_pages"
    external_views: ClassVar[list[dict[str, Any]]] = [
        *(
            {
                "name": name,
                "href": f"{_DASHBOARD}{path}",
                "destination": "nav",
                "category": "Market data",
                "url_route": route,
            }
            for route, (name, path) in _PAGES.items()
        ),
        # A tab cannot be of one DAG only: the dashboard knows where each one's runs lead, the checks' to their results.
        {
            "name": "Dashboard",
            "href": f"{_DASHBOARD}/dag-runs/{{DAG_ID}}/{{RUN_ID}}",
            "destination": "dag_run",
            "url_route": "dashboard",
        },
    ]
