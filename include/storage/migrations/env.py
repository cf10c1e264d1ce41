"""Alembic's entry: one transaction a migration, one migrator at a time."""

from __future__ import annotations

from alembic import context
from sqlalchemy import Connection, create_engine, text

from include.storage.migrate import ADVISORY_LOCK, SCHEMA, VERSION_TABLE


def _configure_and_run(connection: Connection | None, url: str | None = None) -> None:
    context.configure(
        connection=connection,
        url=url,
        version_table=VERSION_TABLE,
        version_table_schema=SCHEMA,
        transaction_per_migration=True,
        literal_binds=connection is None,
    )
    with context.begin_transaction():
        context.run_migrations()


def _run_online() -> None:
    engine = create_engine(context.config.attributes["database_url"])
    with engine.connect() as connection:
        # Two `up` at once, or `up` beside the DAG: the second waits here and then finds nothing to do.
        connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": ADVISORY_LOCK})
        connection.execute(text(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}"))
        connection.commit()
        _configure_and_run(connection)
        connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": ADVISORY_LOCK})
        connection.commit()


if context.is_offline_mode():
    _configure_and_run(None, url="postgresql+psycopg://")
else:
    _run_online()
