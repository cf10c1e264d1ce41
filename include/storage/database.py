"""The warehouse as the other rooms see it; the stream's own SQL is in stream_store.py."""

from __future__ import annotations

from datetime import datetime
from types import TracebackType
from typing import Any, Self

import psycopg
from psycopg.rows import dict_row
from psycopg.sql import SQL, Identifier

from include.settings import required, settings
from include.storage.quality_metrics import quality_metrics


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
        """How good the data are, now and by the last run of the checks. Takes no longer with more rows.

        - `checked_at`: when this was asked.
        - `events`, `candles`, `dead_letters`, `late_events`: rows in PostgreSQL, integers. `counts` says of each
          whether it is `exact` (a count, of up to 256 MiB) or `estimated` (by PostgreSQL's planner: rows a page when
          the table was last analysed, times its pages now; usually within a few per cent). `events_archived`: rows
          that are only in the archive, exact.
        - `symbols`: for each symbol with a candle: `candles` (1 minute; as exact as `counts` says of candles),
          `last_candle_at`, `age_seconds`.
        - `last_run`: `run_id`, `finished_at`, `passed`, `failed_critical`, `failed_warning`, `pass_rate` (0 to 1), or
          None if nothing was ever checked. `failing_checks`: in words, critical first.
        - `freshness`: for each collected symbol: `last_event_at`, `age_seconds` (of trading), `limit_seconds`,
          `is_open`, `is_fresh`. `completeness`, of today (UTC): `expected_minutes`, `present_minutes`,
          `missing_minutes`, `is_complete`.
        - `quarantine_held`: events that wait for a decision.

        Raises psycopg.Error.
        """
        return quality_metrics(self._connection, settings().freshness_limit_seconds)

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
