"""Schema migrations: `python -m include.storage.migrate` brings the database to the newest revision."""

from __future__ import annotations

import io
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url

from include.errors import MarketMismatch
from include.settings import Market, required, settings

SCHEMA = "market"
VERSION_TABLE = "schema_version"
ADVISORY_LOCK = 7_420_130_901


def sqlalchemy_url(database_url: str) -> str:
    """The URL with the driver named: SQLAlchemy's default for `postgresql://` has changed before."""
    url = make_url(database_url).set(drivername="postgresql+psycopg")
    return url.render_as_string(hide_password=False)


def upgrade(database_url: str, market: Market, revision: str = "head") -> list[str]:
    """Apply what is pending; the revisions applied, oldest first.

    Raises MarketMismatch if the database was made for another market.
    """
    pending_before = pending(database_url)
    check_market(database_url, market)
    command.upgrade(_config(database_url, market), revision)
    check_market(database_url, market)
    return [name for name in pending_before if name not in pending(database_url)]


def downgrade(database_url: str, revision: str) -> None:
    """Go back to a revision, `base` for none."""
    command.downgrade(_config(database_url, None), revision)


def pending(database_url: str) -> list[str]:
    """Revisions not applied yet, oldest first."""
    engine = create_engine(sqlalchemy_url(database_url))
    with engine.connect() as connection:
        options = {"version_table": VERSION_TABLE, "version_table_schema": SCHEMA}
        current = MigrationContext.configure(connection, opts=options).get_current_revision()
    engine.dispose()
    script = ScriptDirectory.from_config(_config(database_url, None))
    revisions = [revision.revision for revision in script.walk_revisions("base", "heads")]
    revisions.reverse()
    return revisions if current is None else revisions[revisions.index(current) + 1 :]


def pending_sql(database_url: str, market: Market) -> str:
    """The SQL that `upgrade` would run, for a person to read; empty if nothing is pending."""
    names = pending(database_url)
    if not names:
        return ""
    script = ScriptDirectory.from_config(_config(database_url, market))
    start = script.get_revision(names[0]).down_revision or "base"
    buffer = io.StringIO()
    config = _config(database_url, market)
    config.output_buffer = buffer
    command.upgrade(config, f"{start}:{names[-1]}", sql=True)
    return buffer.getvalue()


def check_market(database_url: str, market: Market) -> None:
    """Raises MarketMismatch if the database is marked with another market."""
    engine = create_engine(sqlalchemy_url(database_url))
    with engine.connect() as connection:
        if connection.execute(text("SELECT to_regclass('market.platform')")).scalar() is None:
            return
        mark = connection.execute(text("SELECT market FROM market.platform")).scalar()
    engine.dispose()
    if mark is not None and mark != market:
        raise MarketMismatch(
            f"the database belongs to MARKET={mark}, not {market}: use another DATABASE_URL or MARKET={mark}"
        )


def _config(database_url: str, market: Market | None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    # By attribute, not by option: a percent sign in a password would break the ini syntax.
    config.attributes["database_url"] = sqlalchemy_url(database_url)
    config.attributes["market"] = market
    return config


def main() -> None:
    configuration = settings()
    url = required(configuration.database_url, "DATABASE_URL")
    applied = upgrade(url, configuration.market or "sandbox")
    print(f"schema: applied {', '.join(applied)}" if applied else "schema: nothing pending")


if __name__ == "__main__":
    main()
