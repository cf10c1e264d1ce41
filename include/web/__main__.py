"""`python -m include.web`: the pages and the API on one port.

The dashboard imports neither a producer nor the stream; here is the one place that knows them: the producers' bench
for dead letters, and the stream's arithmetic for candles that it does not store.
"""

from __future__ import annotations

import sys

from fastapi import FastAPI

from include.dashboard import service
from include.producers.replaying import LetterBench
from include.settings import Settings
from include.web.figures import figures

HOST = service.HOST


def create_application(chosen: Settings) -> FastAPI:
    """The dashboard's application. Without Kafka there are no dead letters, and no replay without the writer's role.

    Raises SettingsError.
    """
    has_kafka = chosen.kafka_bootstrap_servers is not None
    can_write = (chosen.writer_database_url or chosen.database_url) is not None
    desk = LetterBench(chosen) if has_kafka else None
    return service.create_application(chosen, figures, desk, can_replay=has_kafka and can_write)


def main() -> int:
    return service.serve(create_application, HOST)


if __name__ == "__main__":
    sys.exit(main())
