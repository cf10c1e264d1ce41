"""`python -m include.web`: the pages and the API on one port, with the producers' bench for dead letters.

The dashboard never imports a producer; here is the one place that knows both.
"""

from __future__ import annotations

import sys

from fastapi import FastAPI

from include.dashboard import __main__ as dashboard
from include.producers.replaying import LetterBench
from include.settings import Settings

HOST = dashboard.HOST


def create_application(chosen: Settings) -> FastAPI:
    """The dashboard's application. Without Kafka there are no dead letters, and no replay without the writer's role.

    Raises SettingsError.
    """
    has_kafka = chosen.kafka_bootstrap_servers is not None
    can_write = (chosen.writer_database_url or chosen.database_url) is not None
    desk = LetterBench(chosen) if has_kafka else None
    return dashboard.create_application(chosen, desk, can_replay=has_kafka and can_write)


def main() -> int:
    return dashboard.serve(create_application, HOST)


if __name__ == "__main__":
    sys.exit(main())
