"""Schema migrations: `python -m include.storage.migrate` brings the database to the newest revision.

Each revision is one transaction, which also writes who applied it into `market.schema_changes`. It waits for a lock for
LOCK_SECONDS at most, so that the stream never queues behind it for longer, and is tried again where it got none.
"""

from __future__ import annotations

import getpass
import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import structlog
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from psycopg import errors
from sqlalchemy import Connection, NullPool, create_engine, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import OperationalError
from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_attempt, wait_random_exponential

from include.errors import MarketDataError, MarketMismatch
from include.settings import Market, required, settings

SCHEMA = "market"
VERSION_TABLE = "schema_version"
ADVISORY_LOCK = 7_420_130_901
#: Whoever comes after a waiting migration waits behind it: a batch of the stream can, for so long.
LOCK_SECONDS = 2.0
LOCK_ATTEMPTS = 20
#: Where revisions are looked for.
VERSIONS: tuple[Path, ...] = (Path(__file__).parent / "migrations" / "versions",)

log = structlog.get_logger("schema")


def sqlalchemy_url(database_url: str) -> str:
    """The URL with the driver named: SQLAlchemy's default for `postgresql://` has changed before."""
    url = make_url(database_url).set(drivername="postgresql+psycopg")
    return url.render_as_string(hide_password=False)


def upgrade(
    database_url: str, market: Market, revision: str = "head", *, via: str = "python", by: str = ""
) -> list[str]:
    """Apply what is pending up to a revision; the revisions applied here, oldest first.

    `via` and `by` are what `schema_changes` says of it; without `by` it is the user of the operating system.
    Raises MarketMismatch if the database was made for another market, MarketDataError where a lock was not to be had.
    """
    check_market(database_url, market)
    applied = _change(command.upgrade, database_url, market, revision, via, by)
    check_market(database_url, market)
    return applied


def downgrade(database_url: str, revision: str, *, via: str = "python", by: str = "") -> list[str]:
    """Go back to a revision, `base` for none; the revisions taken back, newest first. Raises as `upgrade`."""
    return _change(command.downgrade, database_url, None, revision, via, by)


def pending(database_url: str) -> list[str]:
    """Revisions not applied yet, oldest first. Raises MarketDataError if the database is ahead of this program."""
    with connected(database_url) as connection:
        options = {"version_table": VERSION_TABLE, "version_table_schema": SCHEMA}
        current = MigrationContext.configure(connection, opts=options).get_current_revision()
    script = ScriptDirectory.from_config(_config(database_url, None))
    revisions = [revision.revision for revision in script.walk_revisions("base", "heads")]
    revisions.reverse()
    if current is None:
        return revisions
    if current not in revisions:
        raise MarketDataError(f"the schema is at revision {current}, which this version does not know: use a newer one")
    return revisions[revisions.index(current) + 1 :]


def pending_sql(database_url: str, market: Market) -> str:
    """The SQL that `upgrade` would run, for a person to read; empty if nothing is pending."""
    names = pending(database_url)
    if not names:
        return ""
    config = _config(database_url, market)
    start = ScriptDirectory.from_config(config).get_revision(names[0]).down_revision or "base"
    buffer = io.StringIO()
    config.output_buffer = buffer
    command.upgrade(config, f"{start}:{names[-1]}", sql=True)
    return buffer.getvalue()


def check_market(database_url: str, market: Market) -> None:
    """Raises MarketMismatch if the database is marked with another market."""
    with connected(database_url) as connection:
        if connection.execute(text("SELECT to_regclass('market.platform')")).scalar() is None:
            return
        mark = connection.execute(text("SELECT market FROM market.platform")).scalar()
    if mark is not None and mark != market:
        raise MarketMismatch(
            f"the database belongs to MARKET={mark}, not {market}: use another DATABASE_URL or MARKET={mark}"
        )


@contextmanager
def connected(url: str) -> Iterator[Connection]:
    """A connection of its own, closed at the end and not kept: what its session has locked is free then."""
    with create_engine(sqlalchemy_url(url), poolclass=NullPool).connect() as connection:
        yield connection


def _change(
    run: Callable[[Config, str], None], database_url: str, market: Market | None, revision: str, via: str, by: str
) -> list[str]:
    config = _config(database_url, market)
    # What was applied before a lock was refused stays: the next try goes on behind it.
    done: list[str] = []
    config.attributes.update(via=via, by=by or _operating_user(), done=done)
    attempts = Retrying(
        retry=retry_if_exception(_got_no_lock),
        stop=stop_after_attempt(LOCK_ATTEMPTS),
        wait=wait_random_exponential(multiplier=0.5, max=5),
        before_sleep=_say_retry,
        reraise=True,
    )
    try:
        attempts(run, config, revision)
    except OperationalError as failure:
        if not _got_no_lock(failure):
            raise
        applied = f" but for {', '.join(done)}, which stand" if done else ""
        raise MarketDataError(
            f"a migration got no lock in {LOCK_ATTEMPTS} tries of {LOCK_SECONDS:.0f} s and changed nothing{applied}: "
            "look in pg_stat_activity for who holds a table for so long, and run it again"
        ) from failure
    return done


def _got_no_lock(failure: BaseException) -> bool:
    refused = (errors.LockNotAvailable, errors.DeadlockDetected)
    return isinstance(failure, OperationalError) and isinstance(failure.orig, refused)


def _say_retry(attempt: RetryCallState) -> None:
    log.warning("a migration got no lock, trying again", attempt=attempt.attempt_number)


def _operating_user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container's user may have no name
        return f"uid {os.getuid()}"


def _config(database_url: str, market: Market | None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.set_main_option("path_separator", "os")
    config.set_main_option("version_locations", os.pathsep.join(map(str, VERSIONS)))
    # By attribute, not by option: a percent sign in a password would break the ini syntax.
    config.attributes["database_url"] = database_url
    config.attributes["market"] = market
    return config


def main() -> None:
    configuration = settings()
    url = required(configuration.database_url, "DATABASE_URL")
    applied = upgrade(url, configuration.market or "sandbox", via="python -m include.storage.migrate")
    print(f"schema: applied {', '.join(applied)}" if applied else "schema: nothing pending")


if __name__ == "__main__":
    main()
