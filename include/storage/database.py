"""The warehouse as the other rooms see it; the stream's own SQL is in stream_store.py."""

from __future__ import annotations

from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self

import psycopg
from psycopg.rows import dict_row
from psycopg.sql import SQL, Identifier

from include.settings import required, settings


def libpq_url(database_url: str) -> str:
    """The URL as libpq takes it: without SQLAlchemy's driver suffix."""
    scheme, separator, rest = database_url.partition("://")
    return f"{scheme.split('+')[0]}{separator}{rest}"


class DatabaseManager:
    """Questions about the whole warehouse. One connection, read-only unless a method says otherwise."""

    def __init__(self, database_url: str | None = None) -> None:
        url = database_url or required(settings().reader_database_url or settings().database_url, "DATABASE_URL")
        self._connection: psycopg.Connection[dict[str, Any]] = psycopg.connect(
            libpq_url(url), autocommit=True, connect_timeout=5, row_factory=dict_row
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._connection.close()

    def get_data_quality_metrics(self) -> dict[str, Any]:
        """Counts and freshness as they stand: events, candles, dead letters, late events, per symbol age."""
        totals = self._connection.execute(
            "SELECT (SELECT count(*) FROM market_events) AS events, "
            "(SELECT count(*) FROM candles) AS candles, "
            "(SELECT count(*) FROM dead_letters) AS dead_letters, "
            "(SELECT count(*) FROM late_events) AS late_events"
        ).fetchone()
        symbols = self._connection.execute(
            "SELECT symbol, count(*) AS candles, max(window_start) AS last_candle_at, "
            "extract(epoch FROM now() - max(window_start))::bigint AS age_seconds "
            "FROM candles WHERE interval = '1m' GROUP BY symbol ORDER BY symbol"
        ).fetchall()
        return {"checked_at": datetime.now(UTC), **(totals or {}), "symbols": symbols}

    def first_candle_at(self) -> datetime | None:
        """Start of the oldest 1-minute candle; None while there is none."""
        row = self._connection.execute(
            "SELECT min(window_start) AS first FROM candles WHERE interval = '1m'"
        ).fetchone()
        return row["first"] if row else None


def set_role_passwords(database_url: str, passwords: dict[str, str]) -> None:
    """Give each role its password; only the SCRAM verifier leaves this process."""
    with psycopg.connect(libpq_url(database_url), autocommit=True) as connection:
        for role, password in passwords.items():
            verifier = connection.pgconn.encrypt_password(password.encode(), role.encode(), b"scram-sha-256")
            connection.execute(SQL("ALTER ROLE {} PASSWORD {}").format(Identifier(role), verifier.decode()))
