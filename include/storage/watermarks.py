"""How far each source was published, per symbol: a restart asks for nothing twice."""

from __future__ import annotations

from collections.abc import Mapping

import psycopg

from include.market.moments import micros, moment
from include.storage.database import libpq_url


class PostgresWatermarks:
    """`ingestion_watermarks`; times are event times in UTC epoch microseconds."""

    def __init__(self, database_url: str) -> None:
        self._connection = psycopg.connect(libpq_url(database_url), autocommit=True)

    def published_through(self, source: str, kind: str) -> dict[str, int]:
        """Symbol to the newest event time that Kafka has confirmed."""
        rows = self._connection.execute(
            "SELECT symbol, published_through FROM ingestion_watermarks WHERE source = %s AND kind = %s",
            (source, kind),
        ).fetchall()
        return {symbol: micros(time) for symbol, time in rows}

    def advance(self, source: str, kind: str, times: Mapping[str, int]) -> None:
        """Move forward; a watermark never goes back."""
        rows = [(source, kind, symbol, moment(time)) for symbol, time in times.items()]
        with self._connection.transaction(), self._connection.cursor() as cursor:
            cursor.executemany(
                "INSERT INTO ingestion_watermarks AS held (source, kind, symbol, published_through) "
                "VALUES (%s, %s, %s, %s) ON CONFLICT (source, kind, symbol) DO UPDATE SET updated_at = now(), "
                "published_through = greatest(held.published_through, excluded.published_through)",
                rows,
            )

    def close(self) -> None:
        self._connection.close()
