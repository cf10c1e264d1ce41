"""What the stream has not read yet: Kafka's ends beside the ledger's, whatever the driver itself says."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
import structlog
from confluent_kafka import KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]
from psycopg.rows import dict_row

from include.market.topics import EVENTS
from include.operations.supervision import QueryBacklog
from include.storage.database import libpq_url

ANSWER_SECONDS = 5.0
#: Positions are looked for in so many of a query's newest batches.
BATCHES = 5_000
QUERIES = {f"events_{asset_class}": topic for asset_class, topic in EVENTS.items()}

# A partition that had no record in the newest batches has no row here.
_POSITIONS = f"""
WITH newest AS (
    SELECT checkpoint_id FROM stream_checkpoints WHERE query_name = %(query)s ORDER BY known_since DESC LIMIT 1
), batches AS (
    SELECT offsets, committed_at FROM stream_batches
    WHERE query_name = %(query)s AND checkpoint_id = (SELECT checkpoint_id FROM newest)
    ORDER BY batch_id DESC LIMIT {BATCHES}
)
SELECT (SELECT count(*) FROM batches) AS batches, (SELECT max(committed_at) FROM batches) AS last_batch_at,
    (SELECT coalesce(jsonb_object_agg(number, until), '{{}}') FROM (
        SELECT part.key AS number, max((part.value ->> 1)::bigint) AS until
        FROM batches, jsonb_each(offsets -> %(topic)s) part GROUP BY part.key) ends) AS positions
"""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Position:
    """Where the ledger stands in a topic: partition to next offset. `is_whole`: all of its batches were looked at."""

    offsets: Mapping[int, int]
    last_batch_at: datetime | None
    is_whole: bool


@dataclass(frozen=True, slots=True)
class Ends:
    """Of one partition: first offset, the one behind the last, and the first not older than the patience."""

    first: int
    end: int
    fresh: int


def read_backlog(
    database_url: str,
    servers: str,
    now: datetime,
    patience_seconds: float,
    ends: Callable[[str, str, float], dict[int, Ends]] | None = None,
) -> dict[str, QueryBacklog] | None:
    """By query; None while Kafka does not answer. Raises psycopg.Error."""
    with psycopg.connect(libpq_url(database_url), connect_timeout=5, row_factory=dict_row) as connection:
        positions = {query: _position(connection, query, topic) for query, topic in QUERIES.items()}
    before = now.timestamp() - patience_seconds
    try:
        return {
            query: compared(positions[query], (ends or kafka_ends)(servers, topic, before))
            for query, topic in QUERIES.items()
        }
    except KafkaException as failure:
        log.warning("the lag is not known: Kafka does not answer", reason=str(failure))
        return None


def compared(position: Position, ends: Mapping[int, Ends]) -> QueryBacklog:
    """Records behind, over all partitions whose position is known, and whether some have waited for too long."""
    behind, overdue = 0, False
    for partition, end in ends.items():
        at = position.offsets.get(partition, end.first if position.is_whole else None)
        if at is None:
            continue
        # What Kafka has dropped meanwhile cannot be read any more.
        at = max(at, end.first)
        behind += max(0, end.end - at)
        overdue = overdue or at < end.fresh
    return QueryBacklog(behind, overdue, position.last_batch_at)


def kafka_ends(servers: str, topic: str, fresh_since: float) -> dict[int, Ends]:
    """By partition. `fresh_since` in epoch seconds, compared with the records' times. Raises KafkaException."""
    admin = AdminClient({"bootstrap.servers": servers, "log_level": 3})
    known = admin.list_topics(topic, ANSWER_SECONDS).topics[topic].partitions
    partitions = [TopicPartition(topic, number) for number in known]
    first = _offsets(admin, partitions, OffsetSpec.earliest())  # type: ignore[no-untyped-call]
    end = _offsets(admin, partitions, OffsetSpec.latest())  # type: ignore[no-untyped-call]
    fresh = _offsets(admin, partitions, OffsetSpec.for_timestamp(int(fresh_since * 1000)))
    # Where no record is so new, all of them are older.
    return {
        number: Ends(first[number], end[number], fresh[number] if fresh[number] >= 0 else end[number]) for number in end
    }


def _offsets(admin: AdminClient, partitions: Iterable[TopicPartition], spec: Any) -> dict[int, int]:
    asked = admin.list_offsets({partition: spec for partition in partitions}, request_timeout=ANSWER_SECONDS)
    return {partition.partition: int(answer.result(ANSWER_SECONDS).offset) for partition, answer in asked.items()}


def _position(connection: psycopg.Connection[dict[str, Any]], query: str, topic: str) -> Position:
    row = connection.execute(_POSITIONS, {"query": query, "topic": topic}).fetchone()
    assert row is not None  # it has no FROM
    offsets = {int(number): int(until) for number, until in row["positions"].items()}
    return Position(offsets, row["last_batch_at"], is_whole=row["batches"] < BATCHES)
