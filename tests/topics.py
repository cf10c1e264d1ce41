"""Topics without what was published to them before."""

from __future__ import annotations

from collections.abc import Sequence

from confluent_kafka.admin import AdminClient

from include.stack.kafka import create_topics
from tests.waiting import wait_until


def recreate_topics(bootstrap_servers: str, names: Sequence[str]) -> None:
    """Delete these topics and make them again, empty and under new ids."""
    admin = AdminClient({"bootstrap.servers": bootstrap_servers})
    for gone in admin.delete_topics(list(names)).values():
        gone.result(timeout=30)
    wait_until(lambda: not set(names) & set(admin.list_topics(timeout=10).topics), seconds=30, what="topics to go")
    create_topics(bootstrap_servers)
