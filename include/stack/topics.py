"""`python -m include.stack.topics`: create the declared topics on the Kafka that is set."""

from __future__ import annotations

from include.settings import required, settings
from include.stack.kafka import create_topics


def main() -> None:
    made = create_topics(required(settings().kafka_bootstrap_servers, "KAFKA_BOOTSTRAP_SERVERS"))
    print(f"topics: created {', '.join(made)}" if made else "topics: all there")


if __name__ == "__main__":
    main()
