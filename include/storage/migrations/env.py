"""Alembic's entry: one transaction a migration, one migrator at a time, and a note of each change."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from alembic import context
from alembic.runtime.migration import MigrationContext, MigrationInfo
from sqlalchemy import Connection, text

from include.storage.migrate import ADVISORY_LOCK, LOCK_SECONDS, SCHEMA, VERSION_TABLE, connected

# now() is when the migration's transaction began.
NOTE = """
INSERT INTO market.schema_changes (revision, direction, applied_by, applied_via, seconds)
VALUES (:revision, :direction, :by, :via, extract(epoch FROM clock_timestamp() - now()))
"""


def _note(ctx: MigrationContext, step: MigrationInfo, heads: Collection[Any], run_args: Mapping[str, Any]) -> None:
    """In the transaction of the migration itself, so that neither stands without the other."""
    if ctx.as_sql:
        return
    connection, attributes = ctx.connection, context.config.attributes
    assert connection is not None
    attributes["done"].append(step.up_revision_id)
    # It came with 0005: before, there is nowhere to write.
    if connection.execute(text("SELECT to_regclass('market.schema_changes')")).scalar() is None:
        return
    note = {
        "revision": step.up_revision_id,
        "direction": "up" if step.is_upgrade else "down",
        "by": attributes["by"],
        "via": attributes["via"],
    }
    connection.execute(text(NOTE), note)


def _configure_and_run(connection: Connection | None) -> None:
    """Without a connection: write the SQL instead, as psql takes it (another parameter style would double each %)."""
    context.configure(
        connection=connection,
        url=None if connection else "postgresql+psycopg://",
        dialect_opts={} if connection else {"paramstyle": "named"},
        version_table=VERSION_TABLE,
        version_table_schema=SCHEMA,
        transaction_per_migration=True,
        literal_binds=connection is None,
        on_version_apply=_note,
    )
    with context.begin_transaction():
        context.execute(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}")
        context.run_migrations()


def _run_online() -> None:
    with connected(context.config.attributes["database_url"]) as connection:
        # Two `up` at once, or `up` beside the DAG: the second waits here, however long, and then finds nothing to do.
        # The lock goes with the session.
        connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": ADVISORY_LOCK})
        connection.execute(text(f"SET lock_timeout = '{LOCK_SECONDS} s'"))
        connection.commit()
        _configure_and_run(connection)


if context.is_offline_mode():
    _configure_and_run(None)
else:
    _run_online()
