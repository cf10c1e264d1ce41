"""The tasks of notify_anomalies: new anomalies, then the way of all alerts to people."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from airflow.sdk import Asset, Param, get_current_context

#: Keeps, from run to run, how far anomalies were looked at and what which channel has had.
MEMORY = Asset("price_anomalies_told")
_KEY = "told"


def notify_params() -> dict[str, Param]:
    """The form; a scheduled run leaves it as it is."""
    return {
        "test_message": Param(
            False,
            type="boolean",
            title="Test message",
            description="Send a test notice to every channel that is set up; fails where one does not take it.",
        )
    }


def notify() -> dict[str, Any]:
    """What was raised, resolved and delivered. Lost, the memory costs one message twice, and no alert.

    Raises NotDelivered for a test message only, psycopg.Error.
    """
    from include.operations.alert_channels import channels
    from include.operations.alerts import deliver, notify_anomalies, send_test
    from include.operators.lineage import send_lineage
    from include.operators.services import database_url
    from include.settings import settings
    from include.storage.alerts import AlertStore

    context: Any = get_current_context()
    chosen = settings()
    market, ways = chosen.market or "live", channels(chosen)
    # First: where it fails, nothing else is left half done.
    tested = send_test(ways, market) if context["params"]["test_message"] else []
    memory = context["asset_state_store"][MEMORY]
    before = memory.get(_KEY, {})
    seen_through = before.get("detected_through")
    with AlertStore(database_url("postgres_default")) as store:
        found = notify_anomalies(store, datetime.fromisoformat(seen_through) if seen_through else None)
        delivery = deliver(store, ways, market, before.get("told", {}))
    memory.set(_KEY, {"detected_through": found.detected_through.isoformat(), "told": delivery.told})
    return {
        "anomalies": {"raised": found.raised, "withdrawn": found.withdrawn, "over": found.over},
        "channels": [way.name for way in ways],
        "delivered": delivery.delivered,
        "failed": delivery.failed,
        "tested": tested,
        # The last: alerts wait for no lineage.
        "lineage": send_lineage(),
    }
