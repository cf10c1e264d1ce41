"""What the stream refused (`dead_letters`), and what became of dead letters that were replayed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import Any, Self

import psycopg
from psycopg.rows import class_row

from include.storage.database import libpq_url

#: Topic, partition, offset.
Coordinates = tuple[str, int, int]


@dataclass(frozen=True, slots=True)
class RefusedRecord:
    """One Kafka record that the stream could not take; `payload` is its value."""

    received_at: datetime
    topic: str
    kafka_partition: int
    kafka_offset: int
    symbol: str | None
    source: str | None
    reason: str
    payload: bytes | None


class RefusedRecords:
    """One connection, for a command's time. Raises psycopg.Error."""

    def __init__(self, database_url: str) -> None:
        self._connection: psycopg.Connection[Any] = psycopg.connect(
            libpq_url(database_url), autocommit=True, connect_timeout=5
        )

    def newest(self, limit: int) -> list[RefusedRecord]:
        """The newest first."""
        return self._selected("ORDER BY received_at DESC, id DESC LIMIT %s", (limit,))

    def at(self, coordinates: Coordinates) -> RefusedRecord | None:
        found = self._selected("WHERE (topic, kafka_partition, kafka_offset) = (%s, %s, %s)", coordinates)
        return found[0] if found else None

    def outcomes(self) -> dict[Coordinates, str]:
        """What became of each letter that was replayed."""
        rows = self._connection.execute(
            "SELECT topic, kafka_partition, kafka_offset, outcome FROM dead_letter_replays"
        ).fetchall()
        return {(topic, partition, offset): outcome for topic, partition, offset, outcome in rows}

    def record(self, coordinates: Coordinates, outcome: str) -> None:
        """The last replay counts."""
        self._connection.execute(
            "INSERT INTO dead_letter_replays (topic, kafka_partition, kafka_offset, outcome) VALUES (%s, %s, %s, %s) "
            "ON CONFLICT (topic, kafka_partition, kafka_offset) "
            "DO UPDATE SET outcome = excluded.outcome, replayed_at = now()",
            (*coordinates, outcome),
        )

    def close(self) -> None:
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _selected(self, clause: str, values: Sequence[object]) -> list[RefusedRecord]:
        with self._connection.cursor(row_factory=class_row(RefusedRecord)) as cursor:
            return cursor.execute(
                "SELECT received_at, topic, kafka_partition, kafka_offset, symbol, source, reason, payload "
                f"FROM dead_letters {clause}",
                values,
            ).fetchall()
