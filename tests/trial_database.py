"""A database of a test's own on the running server, owned like the real one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg.sql import SQL, Identifier

from include.stack.postgres import admin_url
from tests.stores import Services


@contextmanager
def trial_database(services: Services, name: str = "trial") -> Iterator[str]:
    """Its owner's URL. Empty, and gone at the end."""
    with psycopg.connect(admin_url(services.plan), autocommit=True) as admin:
        admin.execute(SQL("CREATE DATABASE {} OWNER dataeng").format(Identifier(name)))
        try:
            yield services.database_url.replace("/financial_data", f"/{name}")
        finally:
            admin.execute(SQL("DROP DATABASE {} WITH (FORCE)").format(Identifier(name)))
