"""Lineage events from the journal to a Kafka topic, and to an OpenLineage server where one is set.

At least once, in order; each way remembers how far it has come, so one that is away holds up no other.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
from confluent_kafka import KafkaException, Producer

from include.errors import PublishError
from include.market.topics import LINEAGE
from include.operations.lineage_journal import Journal
from include.settings import Settings, required

ANSWER_SECONDS = 10.0
#: In one run at most, of each way: a server that comes back after a day must not hold up the alerts.
SENT_AT_MOST = 5_000

Send = Callable[[list[bytes]], None]


@dataclass(frozen=True, slots=True)
class Way:
    """`send` returns when all is taken, and raises PublishError where it is not."""

    name: str
    send: Send


def ways(chosen: Settings) -> list[Way]:
    """Kafka always; `server` with OPENLINEAGE_URL."""
    servers = required(chosen.kafka_bootstrap_servers, "KAFKA_BOOTSTRAP_SERVERS")
    found = [Way("kafka", lambda lines: to_kafka(servers, lines))]
    if chosen.openlineage_url is not None:
        key = chosen.openlineage_api_key.get_secret_value() if chosen.openlineage_api_key else None
        url = f"{str(chosen.openlineage_url).rstrip('/')}/api/v1/lineage"
        found.append(Way("server", lambda lines: to_server(url, key, lines)))
    return found


def ship(journal: Journal, destinations: Iterable[Way], memory: Path) -> dict[str, Any]:
    """What each way was sent since the last time, or why not; `memory` is the file with their places.

    Raises OSError where the journal cannot be read.
    """
    places: dict[str, int] = json.loads(memory.read_text()) if memory.exists() else {}
    told: dict[str, Any] = {}
    for way in destinations:
        sent, lost = 0, 0
        try:
            while sent < SENT_AT_MOST:
                stretch = journal.read(places.get(way.name, 0))
                # What was there before this way was set up is no loss.
                lost += max(0, stretch.lost) if way.name in places else 0
                events = [line for line in stretch.lines if _is_event(line)]
                if events:
                    way.send(events)
                sent += len(events)
                if places.get(way.name) != stretch.place:
                    places[way.name] = stretch.place
                    _remember(memory, places)
                if not stretch.lines:
                    break
        except PublishError as failure:
            told[way.name] = f"not sent: {failure}"
            continue
        told[way.name] = f"{sent} sent, {lost} bytes gone before they were" if lost else f"{sent} sent"
    return told


def to_kafka(servers: str, lines: list[bytes]) -> None:
    """Key: the job, so that the events of one stay in order."""
    failures: list[str] = []

    def told(failure: Any, _message: Any) -> None:
        if failure is not None:
            failures.append(str(failure))

    config = {"bootstrap.servers": servers, "enable.idempotence": True, "compression.type": "lz4"}
    producer = Producer(config | {"message.timeout.ms": int(ANSWER_SECONDS * 1_000), "log_level": 0})
    try:
        for line in lines:
            job = json.loads(line)["job"]
            producer.produce(LINEAGE, line, key=f"{job['namespace']}/{job['name']}", on_delivery=told)
        unsent = producer.flush(ANSWER_SECONDS)
    except (KafkaException, BufferError) as failure:
        raise PublishError(f"Kafka: {failure}") from failure
    if unsent or failures:
        raise PublishError(f"Kafka: {unsent + len(failures)} events not confirmed: {(failures or ['time-out'])[0]}")


def to_server(url: str, key: str | None, lines: list[bytes]) -> None:
    """One call an event, as the standard has it. Of an event that the server calls bad the next are sent all the same:
    it would be so the next time too."""
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})
    try:
        with httpx2.Client(headers=headers, timeout=ANSWER_SECONDS) as client:
            for line in lines:
                answer = client.post(url, content=line)
                if not answer.is_success and answer.status_code not in (400, 422):
                    raise PublishError(f"the OpenLineage server answers {answer.status_code}")
    except httpx2.HTTPError as failure:
        raise PublishError(f"the OpenLineage server: {type(failure).__name__}") from failure


def _is_event(line: bytes) -> bool:
    """A full disk may have cut one short."""
    try:
        return bool(json.loads(line)["job"]["name"])
    except (ValueError, TypeError, KeyError):
        return False


def _remember(memory: Path, places: dict[str, int]) -> None:
    fresh = memory.with_suffix(".new")
    fresh.write_text(json.dumps(places))
    fresh.replace(memory)
